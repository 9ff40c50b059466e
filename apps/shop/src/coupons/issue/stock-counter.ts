import { randomUUID } from 'node:crypto';
import { type RedisPort, type Refused, refused } from 'pawl';

/** What the rows say of a coupon's stock. */
export interface Stock {
  readonly remaining: number;
  /** Most that are handed out on one day; null: no such limit. It never changes. */
  readonly dailyQuota: number | null;
  /** The day, `yyyy-mm-dd`, that `quotaUsed` counts; null before the first issue. */
  readonly quotaDay: string | null;
  readonly quotaUsed: number;
}

export interface CounterRequest {
  readonly couponId: string;
  readonly memberId: number;
  /** The day that the issue would count for, `yyyy-mm-dd`. */
  readonly day: string;
}

type TakeRefusal = 'sold-out' | 'already-issued' | 'in-progress' | 'quota-reached';

export type Taken =
  /** One is held back for this member until its outcome is told. */
  | { readonly outcome: 'taken'; readonly reservation: string }
  /** `in-progress`: this member has a reservation without an outcome. */
  | Refused<TakeRefusal>
  /** There is no counter: fill it from the rows. */
  | { readonly outcome: 'empty' };

/** What the rows said to a reservation that came to nothing, where that holds for whoever asks next. */
export type RowsRefusal = 'already-issued' | 'sold-out' | 'quota-reached';

/** The counter of one coupon, as it stood at one moment. */
export interface CounterState {
  /** What is left beyond the reservations; null: there is no counter. */
  readonly stock: Stock | null;
  /** Reservations that have no outcome yet. */
  readonly reserved: number;
  /** Another after every change. */
  readonly revision: string;
}

export interface OpenReservation {
  readonly reservation: string;
  readonly memberId: number;
}

/**
 * A coupon's stock in Redis, in front of the rows that are its authority: what is left, the day's use, who has one, and the
 * reservations whose outcome is not known yet. Every operation is one script, and so nobody sees it half done.
 *
 * **What it does not promise:** that Redis remembers. It may forget all of it or some, or remember what was long ago: then
 * it lets through what the rows refuse, or refuses what they would not, until it is corrected (`reconcileStock`).
 *
 * Every operation is one round trip. All of them @throws StoreError, where `effect: 'unknown'` may have been carried out.
 */
export interface StockCounter {
  /** Takes one off, and holds it back for the member; at most one for each. */
  take(request: CounterRequest): Promise<Taken>;
  /** The reservation has become an issue. Whether it was still there; else nothing is changed. */
  confirm(couponId: string, reservation: string): Promise<boolean>;
  /**
   * The reservation has come to nothing, and what it took is there again; unless the rows said why nobody, or this member,
   * needs to ask them again. Whether it was still there; else nothing is changed.
   */
  giveBack(couponId: string, reservation: string, because?: RowsRefusal): Promise<boolean>;
  /** These members have one. True for ever, so it may come at any time. */
  remember(couponId: string, memberIds: readonly number[]): Promise<void>;
  /** Makes the counter where there is none. Whether there was none. */
  fill(couponId: string, stock: Stock): Promise<boolean>;
  read(couponId: string): Promise<CounterState>;
  /** Reservations without an outcome that are older than `olderThanMs` by the clock of Redis, the oldest first. */
  openReservations(couponId: string, olderThanMs: number, limit: number): Promise<OpenReservation[]>;
  /** Sets the counter if nothing has changed since `revision` was read, and nothing is reserved. Whether it did. */
  correct(couponId: string, revision: string, stock: Stock): Promise<boolean>;
}

export interface StockCounterOptions {
  /** Put in front of every key in Redis. */
  readonly prefix: string;
  /** How long a counter is kept after its last change, in milliseconds. Then it is filled again. */
  readonly keepMs?: number;
}

/** A day: longer than any reservation, and short enough that those of events that are over go away. */
const KEEP_MS = 86_400_000;

/**
 * KEYS of every script: the stock, a hash (`left`, `quota`, `day`, `used`, `revision`); the members, a hash from each to his
 * reservation or to `issued`; the reservations, by the moment at which they were made. ARGV[1]: `keepMs`.
 *
 * A reservation is `<member>/<day>/<random>`, so that whoever finds one knows what it has taken.
 */
const HEAD = `
local STOCK, MEMBERS, RESERVED = unpack(KEYS)
local function keep()
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[1]) end
end
local function changed()
  redis.call('HINCRBY', STOCK, 'revision', 1)
  keep()
end
`;

/** The time of Redis, in milliseconds, with a fraction. */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
-- Without an exponent, which Lua gives to large numbers.
local function text(number) return string.format('%.0f', number) end
`;

/** ARGV: member, day, random. */
const TAKE = `${HEAD}${NOW}
local _, member, day, random = unpack(ARGV)
local stock = redis.call('HMGET', STOCK, 'left', 'quota', 'day', 'used')
if not stock[1] then return 'empty' end
local has = redis.call('HGET', MEMBERS, member)
if has == 'issued' then return 'already-issued' end
-- A reservation that is not among the others was forgotten (an eviction), and keeps nobody out.
if has and redis.call('ZSCORE', RESERVED, has) then return 'in-progress' end
-- The last one is the last: it is asked whether one is left, and then one is taken.
if tonumber(stock[1]) < 1 then return 'sold-out' end
-- A day that has begun is not left again: requests of the day before may come after it.
local used = 0
if stock[3] >= day then day, used = stock[3], tonumber(stock[4]) end
if stock[2] ~= '' and used >= tonumber(stock[2]) then return 'quota-reached' end
local reservation = member .. '/' .. day .. '/' .. random
redis.call('HSET', STOCK, 'left', stock[1] - 1, 'day', day, 'used', used + 1)
redis.call('HSET', MEMBERS, member, reservation)
redis.call('ZADD', RESERVED, text(now), reservation)
changed()
return {reservation}`;

/** ARGV: reservation, and what became of it: `issued`, `nothing`, or what the rows said. */
const SETTLE = `${HEAD}
local _, reservation, outcome = unpack(ARGV)
if redis.call('ZREM', RESERVED, reservation) == 0 then return 0 end
local member, day = string.match(reservation, '^(%d+)/([^/]+)/')
if outcome == 'issued' or outcome == 'already-issued' then
  redis.call('HSET', MEMBERS, member, 'issued')
elseif redis.call('HGET', MEMBERS, member) == reservation then
  redis.call('HDEL', MEMBERS, member)
end
local stock = redis.call('HMGET', STOCK, 'left', 'quota', 'day', 'used')
if stock[1] and outcome ~= 'issued' then
  -- Nothing is ever put back into the rows, so what they have sold out stays sold out.
  redis.call('HSET', STOCK, 'left', outcome == 'sold-out' and 0 or stock[1] + 1)
  -- Of a day that is over nobody takes any more.
  if stock[3] == day then
    local used = outcome == 'quota-reached' and stock[2] or math.max(stock[4] - 1, 0)
    redis.call('HSET', STOCK, 'used', used)
  end
end
changed()
return 1`;

/** ARGV: members. */
const REMEMBER = `${HEAD}
for index = 2, #ARGV do redis.call('HSET', MEMBERS, ARGV[index], 'issued') end
keep()
return 1`;

const SET = `redis.call('HSET', STOCK, 'left', left, 'quota', quota, 'day', day, 'used', used)`;

/**
 * ARGV: left, quota, day, used.
 *
 * Reservations that an eviction has left behind are dropped: the rows from which this was filled may know of them already.
 * The revision begins with the time, lest it pass through those of a counter that was lost.
 */
const FILL = `${HEAD}${NOW}
local _, left, quota, day, used = unpack(ARGV)
if redis.call('HEXISTS', STOCK, 'left') == 1 then return 0 end
redis.call('DEL', RESERVED)
${SET}
redis.call('HSET', STOCK, 'revision', text(now * 1000))
keep()
return 1`;

/** ARGV: left, quota, day, used, revision. */
const CORRECT = `${HEAD}
local _, left, quota, day, used, revision = unpack(ARGV)
if redis.call('HGET', STOCK, 'revision') ~= revision then return 0 end
if redis.call('ZCARD', RESERVED) > 0 then return 0 end
${SET}
changed()
return 1`;

const READ = `${HEAD}
local stock = redis.call('HMGET', STOCK, 'left', 'quota', 'day', 'used', 'revision')
stock[6] = redis.call('ZCARD', RESERVED)
return stock`;

/** ARGV: age in milliseconds, limit. */
const OPEN_RESERVATIONS = `${HEAD}${NOW}
return redis.call('ZRANGEBYSCORE', RESERVED, '-inf', text(now - ARGV[2]), 'LIMIT', 0, ARGV[3])`;

export function stockCounter(
  redis: RedisPort,
  { prefix, keepMs = KEEP_MS }: StockCounterOptions,
): StockCounter {
  /** The keys of a coupon have one hash tag, so that a cluster keeps them together. */
  function run(script: string, couponId: string, ...args: (string | number)[]): Promise<unknown> {
    const keys = ['stock', 'members', 'reserved'].map((name) => `${prefix}coupon:{${couponId}}:${name}`);
    return redis.command('EVAL', script, keys.length, ...keys, keepMs, ...args);
  }

  return {
    async take({ couponId, memberId, day }) {
      const answer = await run(TAKE, couponId, memberId, day, randomUUID());
      if (Array.isArray(answer)) return { outcome: 'taken', reservation: String(answer[0]) };
      return answer === 'empty' ? { outcome: 'empty' } : refused(answer as TakeRefusal);
    },
    async confirm(couponId, reservation) {
      return (await run(SETTLE, couponId, reservation, 'issued')) === 1;
    },
    async giveBack(couponId, reservation, because) {
      return (await run(SETTLE, couponId, reservation, because ?? 'nothing')) === 1;
    },
    async remember(couponId, memberIds) {
      await run(REMEMBER, couponId, ...memberIds);
    },
    async fill(couponId, stock) {
      return (await run(FILL, couponId, ...fieldsOf(stock))) === 1;
    },
    async read(couponId) {
      return stateFrom((await run(READ, couponId)) as (string | number | null)[]);
    },
    async openReservations(couponId, olderThanMs, limit) {
      const found = (await run(OPEN_RESERVATIONS, couponId, olderThanMs, limit)) as string[];
      return found.map((reservation) => ({ reservation, memberId: Number.parseInt(reservation, 10) }));
    },
    async correct(couponId, revision, stock) {
      return (await run(CORRECT, couponId, ...fieldsOf(stock), revision)) === 1;
    },
  };
}

function fieldsOf({ remaining, dailyQuota, quotaDay, quotaUsed }: Stock) {
  return [remaining, dailyQuota ?? '', quotaDay ?? '', quotaUsed];
}

function stateFrom([left, quota, day, used, revision, reserved]: (string | number | null)[]): CounterState {
  const stock =
    left === null
      ? null
      : {
          remaining: Number(left),
          dailyQuota: quota === '' ? null : Number(quota),
          quotaDay: day === '' ? null : String(day),
          quotaUsed: Number(used),
        };
  return { stock, reserved: Number(reserved), revision: String(revision) };
}
