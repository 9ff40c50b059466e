import { requireLimit } from '../columns.ts';
import {
  type ClaimedRecord,
  encodedHeaders,
  type IdempotencyRecord,
  type IdempotencyRecordId,
} from '../idempotency-record.ts';
import type { IdempotencyStore } from '../idempotency-store.ts';
import type { RedisPort } from '../ports.ts';
import { redisScript } from './script.ts';

export interface RedisIdempotencyStoreOptions {
  /** Put in front of every key in Redis. */
  readonly prefix?: string;
}

/** The time of Redis, in milliseconds; as text without an exponent, which Lua gives to large numbers. */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
`;

const FIELDS = `'fingerprint', 'owner', 'attempt', 'leaseUntil', 'status', 'headers', 'body'`;

/** KEYS: the record. ARGV: fingerprint, owner, lease and retention in milliseconds. */
const claim = redisScript(`${NOW}
local record = redis.call('HMGET', KEYS[1], ${FIELDS})
local attempt = 1
if record[1] then
  local left = tonumber(record[4]) - now
  if record[5] or record[1] ~= ARGV[1] or left > 0 then
    record[4] = text(left)
    return record
  end
  attempt = tonumber(record[3]) + 1
end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'owner', ARGV[2], 'attempt', text(attempt),
  'leaseUntil', text(now + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return attempt`);

const MINE = `
local record = redis.call('HMGET', KEYS[1], 'owner', 'status')
if record[1] ~= ARGV[1] or record[2] then return 0 end
`;

/** ARGV: owner, lease and retention in milliseconds. */
const renew = redisScript(`${NOW}${MINE}
redis.call('HSET', KEYS[1], 'leaseUntil', text(now + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`);

/** ARGV: owner, status, headers, body, retention in milliseconds. */
const complete = redisScript(`${MINE}
redis.call('HSET', KEYS[1], 'status', ARGV[2], 'headers', ARGV[3], 'body', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1`);

/** ARGV: owner. */
const release = redisScript(`${MINE}
return redis.call('DEL', KEYS[1])`);

const read = redisScript(`${NOW}
local record = redis.call('HMGET', KEYS[1], ${FIELDS})
if not record[1] then return false end
record[4] = text(tonumber(record[4]) - now)
return record`);

/**
 * Records in Redis, each a hash that ends by itself when its retention is over; there is nothing to sweep.
 *
 * **What it does not promise:** Redis may forget. A server that restarts empty, evicts keys, or fails over to a replica that
 * had not heard of them, lets the work run again, and the answer of whoever was at work is not stored (`not-stored`).
 * Where that costs money, keep the records in the database, or a guard there behind this one. Against it:
 * `maxmemory-policy noeviction` (a full Redis then refuses, and nothing runs) and an append-only file.
 *
 * Cost: a fresh operation is two round trips, a replay one. Redis 5 or newer.
 */
export function redisIdempotencyStore(
  redis: RedisPort,
  { prefix = 'pawl:idempotency-key:' }: RedisIdempotencyStoreOptions = {},
): IdempotencyStore {
  /** The scope is a JSON array, which shows where it ends, so that no two records share a key. */
  const keyOf = ({ scope, key }: IdempotencyRecordId) => `${prefix}${scope}${key}`;

  return {
    kind: 'redis',
    async claim({ fingerprint, owner, leaseMs, retentionMs, ...id }) {
      const answer = await claim(redis, [keyOf(id)], [fingerprint, owner, leaseMs, retentionMs]);
      if (Array.isArray(answer))
        return { claimed: false, record: recordFrom(answer) } satisfies ClaimedRecord;
      return { claimed: true, attempt: Number(answer) };
    },
    async renew(id, owner, { leaseMs, retentionMs }) {
      return (await renew(redis, [keyOf(id)], [owner, leaseMs, retentionMs])) === 1;
    },
    async complete(id, owner, given, retentionMs) {
      // Base64, because drivers take a reply for text.
      const answer = [given.status, encodedHeaders(given), Buffer.from(given.body).toString('base64')];
      return (await complete(redis, [keyOf(id)], [owner, ...answer, retentionMs])) === 1;
    },
    async release(id, owner) {
      return (await release(redis, [keyOf(id)], [owner])) === 1;
    },
    async read(id) {
      const answer = await read(redis, [keyOf(id)], []);
      return Array.isArray(answer) ? recordFrom(answer) : undefined;
    },
    async sweep(limit) {
      requireLimit(limit);
      return 0;
    },
  };
}

function recordFrom(fields: readonly unknown[]): IdempotencyRecord {
  const [fingerprint, owner, attempt, leaseLeftMs, status, headers, body] = fields;
  return {
    mode: 'leased',
    fingerprint: String(fingerprint),
    owner: String(owner),
    attempt: Number(attempt),
    leaseLeftMs: Number(leaseLeftMs),
    answer:
      status === null
        ? undefined
        : {
            status: Number(status),
            headers: JSON.parse(String(headers)),
            body: Buffer.from(String(body), 'base64'),
          },
  };
}
