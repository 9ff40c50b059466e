import { isUtf8 } from 'node:buffer';
import { requireLimit } from '../columns.ts';
import { MisuseError, StoreError } from '../errors.ts';
import type {
  ClaimedRecord,
  IdempotencyRecord,
  IdempotencyRecordId,
  StoredAnswer,
} from '../idempotency-record.ts';
import type { IdempotencyStore } from '../idempotency-store.ts';
import type { RedisPort } from '../ports.ts';
import { redisScript } from './script.ts';

export interface RedisIdempotencyStoreOptions {
  /** Put in front of every key in Redis. */
  readonly prefix?: string;
}

/*
 * A record is one string, which one command writes or reads:
 *
 *     running <owner> <lease end> <attempt> <fingerprint>
 *     done <owner> <lease end> <attempt> <fingerprint> <status> <form of the body>\n<headers>\n<body>
 *
 * Its life in Redis is its retention, and begins anew with the claim and with each renewal, as the lease does. So the lease is
 * over when as much of that life is left as the retention was longer than it: `<lease end>`, in milliseconds. Redis measures
 * both with one clock, and nobody need be told the time.
 */
const RUNNING = 'running ';
const DONE = 'done ';

/**
 * A claim that somebody has been before. KEYS: the record. ARGV: fingerprint, owner, lease end and retention in milliseconds.
 *
 * Returns the attempt, or the record and what is left of its life.
 */
const claim = redisScript(`
local record = redis.call('GET', KEYS[1])
local attempt = 1
if record then
  local left = redis.call('PTTL', KEYS[1])
  local leaseEnd, last, fingerprint = string.match(record, '^${RUNNING}%S+ (%S+) (%d+) (%S+)')
  if not leaseEnd or fingerprint ~= ARGV[1] or left > tonumber(leaseEnd) then return {record, left} end
  attempt = tonumber(last) + 1
end
redis.call('SET', KEYS[1], '${RUNNING}' .. ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. string.format('%d', attempt) .. ' ' .. ARGV[1],
  'PX', ARGV[4])
return attempt`);

/** ARGV: how the owner's record in progress begins. */
const MINE = `
local record = redis.call('GET', KEYS[1])
if not record or string.sub(record, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
`;

/** ARGV: lease end and retention in milliseconds. */
const renew = redisScript(`${MINE}
local rest = string.match(record, ' .*', #ARGV[1] + 1)
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2] .. rest, 'PX', ARGV[3])
return 1`);

/** ARGV: the answer, retention in milliseconds. */
const complete = redisScript(`${MINE}
redis.call('SET', KEYS[1], '${DONE}' .. string.sub(record, ${RUNNING.length + 1}) .. ARGV[2], 'PX', ARGV[3])
return 1`);

const release = redisScript(`${MINE}
return redis.call('DEL', KEYS[1])`);

const read = redisScript(`
local record = redis.call('GET', KEYS[1])
return record and {record, redis.call('PTTL', KEYS[1])}`);

/** How long a server that has refused SET with NX and GET is asked by script alone, in milliseconds. */
const BY_SCRIPT_MS = 60_000;

/**
 * Records in Redis, each a string that ends by itself when its retention is over; there is nothing to sweep.
 *
 * **What it does not promise:** Redis may forget. A server that restarts empty, evicts keys, or fails over to a replica that
 * had not heard of them, lets the work run again, and the answer of whoever was at work is not stored (`not-stored`).
 * Where that costs money, keep the records in the database, or a guard there behind this one. Against it:
 * `maxmemory-policy noeviction` (a full Redis then refuses, and nothing runs) and an append-only file.
 *
 * Cost: a fresh operation is two round trips, a replay one; a request that is refused while another is at work, or takes over from
 * one that is not, two before its work. Redis 5 or newer; before Redis 7 one of them once a minute takes a round trip more.
 */
export function redisIdempotencyStore(
  redis: RedisPort,
  { prefix = 'pawl:idempotency-key:' }: RedisIdempotencyStoreOptions = {},
): IdempotencyStore {
  let byScriptUntilMs = 0;

  /** The scope is a JSON array, which shows where it ends, so that no two records share a key. */
  const keyOf = ({ scope, key }: IdempotencyRecordId) => `${prefix}${scope}${key}`;

  /**
   * Writes the record where there is none. @returns what is there; null: it was written; undefined: the server does not take
   * such a command, and did nothing.
   */
  async function setOrGet(key: string, record: string, retentionMs: number): Promise<unknown> {
    if (byScriptUntilMs > 0 && performance.now() < byScriptUntilMs) return undefined;
    try {
      return await redis.command('SET', key, record, 'NX', 'GET', 'PX', retentionMs);
    } catch (error) {
      const refused = error instanceof StoreError && error.code === 'REJECTED' && error.effect === 'none';
      if (!refused) throw error;
      // Redis takes NX and GET together from version 7 on, and a full one no SET at all: a script may read there.
      byScriptUntilMs = performance.now() + BY_SCRIPT_MS;
      return undefined;
    }
  }

  return {
    kind: 'redis',
    async claim({ scope, key: name, fingerprint, owner, leaseMs, retentionMs }) {
      const key = keyOf({ scope, key: name });
      const leaseEnd = retentionMs - leaseMs;
      const found = await setOrGet(key, `${RUNNING}${owner} ${leaseEnd} 1 ${fingerprint}`, retentionMs);
      if (found === null) return { claimed: true, attempt: 1 };
      // What is done stays so. Whether a lease is over, Redis must say.
      if (typeof found === 'string' && found.startsWith(DONE)) return taken(found, 0);
      const answer = await claim(redis, [key], [fingerprint, owner, leaseEnd, retentionMs]);
      if (!Array.isArray(answer)) return { claimed: true, attempt: Number(answer) };
      const [record, lifeLeftMs] = answer;
      return taken(String(record), Number(lifeLeftMs));
    },
    async renew(id, owner, { leaseMs, retentionMs }) {
      const given = [`${RUNNING}${owner} `, retentionMs - leaseMs, retentionMs];
      return (await renew(redis, [keyOf(id)], given)) === 1;
    },
    async complete(id, owner, answer, retentionMs) {
      const given = [`${RUNNING}${owner} `, encoded(answer), retentionMs];
      return (await complete(redis, [keyOf(id)], given)) === 1;
    },
    async release(id, owner) {
      return (await release(redis, [keyOf(id)], [`${RUNNING}${owner} `])) === 1;
    },
    async read(id) {
      const answer = await read(redis, [keyOf(id)], []);
      if (!Array.isArray(answer)) return undefined;
      return decoded(String(answer[0]), Number(answer[1]));
    },
    async sweep(limit) {
      requireLimit(limit);
      return 0;
    },
  };
}

function taken(record: string, lifeLeftMs: number): ClaimedRecord {
  return { claimed: false, record: decoded(record, lifeLeftMs) };
}

/** What is appended to a record with its answer. Drivers take a reply for text, so that what is none is written in base64. */
function encoded({ status, headers, body }: StoredAnswer): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const form = isUtf8(bytes) ? 'utf8' : 'base64';
  return ` ${status} ${form}\n${JSON.stringify(headers)}\n${bytes.toString(form)}`;
}

/** Owner, lease end, attempt and fingerprint; of what is done the status, the form of the body and the headers too. */
const FIELDS = /^\S+ (\S+) (\S+) (\S+) (\S+)(?: (\S+) (\S+)\n([^\n]*)\n)?/;

/** @throws MisuseError  Something else is kept under the key. */
function decoded(record: string, lifeLeftMs: number): IdempotencyRecord {
  const fields = FIELDS.exec(record);
  if (fields === null)
    throw new MisuseError('what is kept in Redis under an idempotency key is no record of one');
  const [all, owner = '', leaseEnd, attempt, fingerprint = '', status, form, headers = ''] = fields;
  return {
    mode: 'leased',
    fingerprint,
    owner,
    attempt: Number(attempt),
    leaseLeftMs: lifeLeftMs - Number(leaseEnd),
    answer:
      status === undefined
        ? undefined
        : {
            status: Number(status),
            headers: JSON.parse(headers),
            body: Buffer.from(record.slice(all.length), form === 'utf8' ? 'utf8' : 'base64'),
          },
  };
}
