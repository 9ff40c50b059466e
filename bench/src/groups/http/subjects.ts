import type { ServerUrls } from '../../servers.ts';

export const frameworkNames = ['fastify', 'express', 'hono', 'nestjs'] as const;
export type FrameworkName = (typeof frameworkNames)[number];

export const storeNames = ['redis', 'postgres', 'mariadb'] as const satisfies (keyof ServerUrls)[];
export type StoreName = (typeof storeNames)[number];

/**
 * What a route does: nothing but its work; its work after the two operations that a store needs for a fresh key, by hand; or
 * its work behind the middleware.
 */
export const kinds = ['plain', 'store', 'guarded'] as const;
export type Kind = (typeof kinds)[number];

/** One row of the group. */
export interface Subject {
  readonly framework: FrameworkName;
  readonly store: StoreName;
}

export const subjects: readonly Subject[] = frameworkNames.flatMap((framework) =>
  storeNames.map((store) => ({ framework, store })),
);

export const rowOf = ({ framework, store }: Subject): string => `${framework}, ${store}`;

/** Where a route is, in every framework. */
export const pathOf = (store: StoreName, kind: Kind): string => `/${store}/${kind}`;
