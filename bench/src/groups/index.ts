import { coupon } from './coupon/index.ts';
import type { Group } from './group.ts';
import { http } from './http/index.ts';
import { idempotency } from './idempotency/index.ts';
import { locks } from './locks/index.ts';
import { purchase } from './purchase/index.ts';

/** In the order in which they are measured. */
export const groups = { locks, http, coupon, idempotency, purchase } satisfies Record<string, Group>;

export type GroupName = keyof typeof groups;

export const groupNames = Object.keys(groups) as GroupName[];
