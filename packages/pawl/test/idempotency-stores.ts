import { newRedis } from '../../../test/stores.ts';
import { ioredisPort } from '../src/adapters/ioredis.ts';
import {
  type Answer,
  groupedIdempotencyStore,
  type IdempotencyRecordId,
  type IdempotencyStore,
  type IdempotentRequest,
  memoryIdempotencyStore,
  migrate,
  type RedisPort,
  redisIdempotencyStore,
  type SqlPort,
  StoreError,
  sqlIdempotencyStore,
} from '../src/index.ts';
import { openStore, type Store } from './stores.ts';

export const idempotencyStores = [
  'postgres',
  'postgres in groups',
  'mariadb',
  'mariadb in groups',
  'mariadb-snapshot',
  'redis',
  'redis before 7',
  'memory',
] as const;

export type IdempotencyStoreName = (typeof idempotencyStores)[number];

const LONGER_THAN_ANY_LIFE_MS = 9_000_000_000_000_000;

/** A store, and the means to let time pass in it. */
export interface OpenIdempotencyStore {
  readonly store: IdempotencyStore;
  /** As if the lease of a record in progress had ended. */
  endLease(id: IdempotencyRecordId): Promise<void>;
  /** As if the record's retention were over. */
  endRetention(id: IdempotencyRecordId): Promise<void>;
  /** How many records the store holds, expired ones included. */
  records(): Promise<number>;
  close(): Promise<void>;
}

export interface OpenSqlIdempotencyStore extends OpenIdempotencyStore {
  readonly database: Store;
  readonly sql: SqlPort;
}

const TABLE = 'pawl_idempotency_key';
const AN_HOUR_AGO = {
  postgres: `clock_timestamp() - interval '1 hour'`,
  mysql: 'UTC_TIMESTAMP(6) - INTERVAL 1 HOUR',
};

export async function openIdempotencyStore(name: IdempotencyStoreName): Promise<OpenIdempotencyStore> {
  switch (name) {
    case 'redis':
      return openRedis();
    case 'redis before 7':
      return openRedis(withoutSet);
    case 'memory':
      return openMemory();
    case 'postgres in groups':
      return openGrouped('postgres');
    case 'mariadb in groups':
      return openGrouped('mariadb');
    default:
      return openSqlIdempotencyStore(name);
  }
}

export async function openSqlIdempotencyStore(
  name: 'postgres' | 'mariadb' | 'mariadb-snapshot',
  { connections = 20 } = {},
): Promise<OpenSqlIdempotencyStore> {
  const database = await openStore(name);
  const sql = database.open({ connections });
  await migrate(sql, {});
  const moveBack = async (columns: readonly string[], { scope, key }: IdempotencyRecordId) => {
    const set = columns.map((column) => `${column} = ${AN_HOUR_AGO[database.kind]}`).join(', ');
    const text = `UPDATE ${TABLE} SET ${set} WHERE scope = ? AND idempotency_key = ?`;
    await database.query(text, scope, key);
  };
  return {
    store: sqlIdempotencyStore(sql),
    database,
    sql,
    endLease: (id) => moveBack(['lease_until'], id),
    endRetention: (id) => moveBack(['lease_until', 'expires_at'], id),
    records: async () => (await database.query(`SELECT 1 AS one FROM ${TABLE}`)).rows.length,
    close: () => database.close(),
  };
}

/** The store whose callers share transactions, with what moves the time of its records. */
async function openGrouped(name: 'postgres' | 'mariadb'): Promise<OpenSqlIdempotencyStore> {
  const opened = await openSqlIdempotencyStore(name, { connections: 1 });
  const sql = opened.database.open({ over: 'together', connections: 20 });
  return { ...opened, sql, store: groupedIdempotencyStore(sql) };
}

/** As a server that does not know NX and GET together, which is how the store sends SET. */
function withoutSet(redis: RedisPort): RedisPort {
  return {
    async command(name, ...args) {
      if (name === 'SET') throw new StoreError('REJECTED', 'none', 'ERR syntax error');
      return redis.command(name, ...args);
    },
  };
}

async function openRedis(over = (port: RedisPort) => port): Promise<OpenIdempotencyStore> {
  const { redis, prefix } = newRedis();
  await redis.connect();
  const port = over(ioredisPort(redis, { commandTimeoutMs: 10_000 }));
  return {
    store: redisIdempotencyStore(port, { prefix }),
    async endLease({ scope, key }) {
      const name = `${prefix}${scope}${key}`;
      // The lease is over when no more of the record's life is left than this.
      const ended = (await redis.get(name))?.replace(/^(running \S+) \S+/, `$1 ${LONGER_THAN_ANY_LIFE_MS}`);
      if (ended !== undefined) await redis.set(name, ended, 'KEEPTTL');
    },
    async endRetention({ scope, key }) {
      await redis.del(`${prefix}${scope}${key}`);
    },
    records: async () => (await redis.keys(`${prefix}*`)).length,
    async close() {
      await redis.quit();
    },
  };
}

/** Its time passes for all records at once: an hour, which is longer than any lease of a test and shorter than retention. */
function openMemory(): OpenIdempotencyStore {
  let passedMs = 0;
  const store = memoryIdempotencyStore({ nowMs: () => performance.now() + passedMs });
  const held = new Set<string>();
  return {
    store: {
      ...store,
      claim(claim) {
        held.add(`${claim.scope}${claim.key}`);
        return store.claim(claim);
      },
    },
    async endLease() {
      passedMs += 3_600_000;
    },
    async endRetention() {
      passedMs += 100 * 86_400_000;
    },
    records: async () => held.size,
    close: async () => undefined,
  };
}

let requests = 0;

/** A request that nobody has sent yet. */
export function newRequest(more: Partial<IdempotentRequest> = {}): IdempotentRequest {
  requests++;
  return {
    scope: ['member 1', 'POST /api/tickets'],
    key: `key-${requests}`,
    payload: '{"amount":1000}',
    ...more,
  };
}

export const idOf = ({ scope, key }: IdempotentRequest): IdempotencyRecordId => ({
  scope: JSON.stringify(scope),
  key,
});

export function answer(text: string, more: Partial<Answer> = {}): Answer {
  return { status: 200, headers: { 'content-type': 'text/plain' }, body: Buffer.from(text), ...more };
}

/** An answer in a form that can be compared: the bytes of its body as text. */
export function shown({ status, headers, body }: Answer): {
  status: number;
  headers: Answer['headers'];
  body: string;
} {
  return { status, headers, body: Buffer.from(body).toString('latin1') };
}
