import { coupon } from './coupon/index.ts';
import type { Group } from './group.ts';
import { growth } from './growth/index.ts';
import { http } from './http/index.ts';
import { idempotency } from './idempotency/index.ts';
import { locks } from './locks/index.ts';
import { purchase } from './purchase/index.ts';
import { scale } from './scale/index.ts';
import { shop } from './shop/index.ts';

/** In the order in which they are measured. */
export const groups = { locks, http, coupon, growth, idempotency, purchase, shop, scale } satisfies Record<
  string,
  Group
>;

export type GroupName = keyof typeof groups;

export const groupNames = Object.keys(groups) as GroupName[];
