import { TOKENS_PER_GRANT } from '../lock-store.ts';
import type { RedisPort } from '../ports.ts';
import { classifyErrorReply } from './errors.ts';
import { redisScript } from './script.ts';

/** Digits of a fencing token, in microseconds since 1970; they are enough until the year 2286. */
const DIGITS = 16;
const MARK_AT = DIGITS + 1;
const OWNER_AT = DIGITS + 2;
/** How a lock is marked: free, and nobody is in its queue, or he would have it. */
const FREE = '0';
/** Held, and nobody is in its queue: whoever is put into it marks the lock, in the same script. */
const HELD = '-';
/** Held, and somebody may be in its queue. */
const WANTED = '+';
const byte = (mark: string) => mark.charCodeAt(0);

/** How a place that queues will hear that the lock is its own. */
export const HEARD = {
  /** It must look. */
  no: 0,
  /** By a message. */
  yes: 1,
  /** It should have heard: the lock was its own already. */
  granted: 2,
} as const;

/** The moment of the script, to the microsecond: as a number, as digits, and as what stands in front of who is granted a lock now. */
const READ_CLOCK = `
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
    nowText = string.format('%0${DIGITS}.0f', now)
    afterNow = string.format('%0${DIGITS}.0f${HELD}', now + ${TOKENS_PER_GRANT})
`;

/** A server without memory does not take the mark, but lets go. */
const SET_FREE = `
    local marked = redis.pcall('SETRANGE', lock, ${MARK_AT - 1}, '${FREE}')
    if type(marked) == 'table' then redis.call('DEL', lock) end
`;

/** What is needed where somebody waits, made only then: to make these functions costs as much as to give a free lock away. */
const WITH_QUEUE = `
    local lock, queue, waiting, last, owner

    local function grant(place, itsLease)
      last = math.max(last, now) + ${TOKENS_PER_GRANT}
      owner = place
      local mark = redis.call('EXISTS', queue) == 1 and '${WANTED}' or '${HELD}'
      redis.call('PSETEX', lock, itsLease, string.format('%0${DIGITS}.0f', last) .. mark .. place)
    end

    local function keepFor(key)
      if redis.call('PTTL', key) < tonumber(lease) then redis.call('PEXPIRE', key, lease) end
    end

    local function channelOf(place)
      return channels .. string.match(place, '^(.*):')
    end

    -- Whether its process is connected to be told. (PUBLISH also counts those who listen to everything.)
    local function isHeard(place)
      local listeners = redis.pcall('PUBSUB', 'NUMSUB', channelOf(place))
      -- Who may not ask must believe it.
      return listeners.err or listeners[2] > 0
    end

    local function enqueue(place, polls)
      local heard = not polls and isHeard(place)
      local entry = string.format('%.0f ', now + lease * 1000) .. lease .. (heard and ' told' or ' polls')
      redis.call('ZADD', queue, 'NX', string.format('%.0f', now), place)
      redis.call('HSET', waiting, place, entry)
      keepFor(queue)
      keepFor(waiting)
      if owner ~= '' then redis.call('SETRANGE', lock, ${MARK_AT - 1}, '${WANTED}') end
      return heard
    end

    -- Gives the lock to the first who is still there. Who asks learns of it by the answer, others by a message, or when they
    -- look. Whose process is not connected any more, and who has not been heard of for a lease, has lost his place.
    local function handOver(asks)
      while true do
        local place = redis.call('ZPOPMIN', queue)[1]
        if not place then return end
        local entry = redis.call('HGET', waiting, place) or ''
        local untilUs, itsLease, how = string.match(entry, '^(%d+) (%d+) (%a+)$')
        redis.call('HDEL', waiting, place)
        if untilUs and tonumber(untilUs) > now and (how == 'polls' or place == asks or isHeard(place)) then
          grant(place, itsLease)
          if how == 'told' and place ~= asks then
            local message = string.match(place, '%d+$') .. string.format(' %.0f ', last - ${TOKENS_PER_GRANT - 1}) .. lock
            redis.pcall('PUBLISH', channelOf(place), message)
          end
          return
        end
      end
    end

    local function take(place, how)
      local heard = ${HEARD.no}
      if owner == place then
        redis.call('PEXPIRE', lock, lease)
        heard = ${HEARD.granted}
      else
        if how ~= 'take' and enqueue(place, how == 'poll') then heard = ${HEARD.yes} end
        if owner == '' then handOver(place) end
        if owner == '' then grant(place, lease) end
      end
      if owner == place then return last - ${TOKENS_PER_GRANT - 1}, heard end
      return -math.max(redis.call('PTTL', lock), 0), heard
    end

    local function free(place)
      if owner == place then
        owner = ''
        return 1
      end
      redis.call('ZREM', queue, place)
      redis.call('HDEL', waiting, place)
      return 0
    end

    withQueue = function(key, held, step, place, nextPlace)
      lock, queue, waiting = key, key .. ':queue', key .. ':waiting'
      last, owner = 0, ''
      if held then
        last = tonumber(string.sub(held, 1, ${DIGITS}))
        if not last then error('WRONGTYPE the key holds no lock', 0) end
        if string.byte(held, ${MARK_AT}) ~= ${byte(FREE)} then owner = string.sub(held, ${OWNER_AT}) end
      end
      if step == 'take' or step == 'wait' or step == 'poll' then return take(place, step) end
      local was = free(place)
      if step ~= 'free' then return was, take(nextPlace, string.sub(step, 6)) end
      if was == 1 then
        handOver('')
        if owner == '' then ${SET_FREE} end
      end
      return was
    end
`;

/**
 * All steps of all locks, in one script that takes any number of them at once.
 *
 * KEYS: the lock of each step. ARGV: prefix of the channels, lease in milliseconds; then for each step its name, a place, and
 * with `free-wait` and `free-poll` the place that is taken next. Answers for each step, in this order: with `renew` and all
 * that frees, whether the lock was held, 1 or 0; with all that takes, the first token of the grant, or for how long the lock is
 * somebody else's, as a number of milliseconds ≤ 0; with all that queues, how it will hear of a grant (`HEARD`). The first of
 * them is a text where the step failed: a key holds something else, the server has no memory. It does not fail the others.
 *
 * A lock is a text: the last token that was given out for it; its mark; its owner's place. Free it is kept until its lease
 * would have been over, so that tokens grow also if the clock is put back meanwhile. The queue is a sorted set of places by
 * the moment of their coming, in microseconds; beside it, in a hash, until when each of them counts as alive, and its lease.
 */
const steps = redisScript(`
local channels, lease = ARGV[1], ARGV[2]
local now, nowText, afterNow, withQueue
local answers, answered, at = {}, 0, 3
for i = 1, #KEYS do
  local lock, step, place = KEYS[i], ARGV[at], ARGV[at + 1]
  at = at + 2
  local held = redis.pcall('GET', lock)
  local failed = type(held) == 'table' and held.err
  local mark = held and not failed and string.byte(held, ${MARK_AT})
  local takes = step == 'take' or step == 'wait' or step == 'poll'
  local answer, second, third
  if takes and not now then ${READ_CLOCK} end
  if failed then
    answer = failed
  elseif takes and mark == ${byte(FREE)} and held < nowText then
    answer = redis.pcall('PSETEX', lock, lease, afterNow .. place).err or now + 1
  elseif mark == ${byte(HELD)} and step == 'free' and string.sub(held, ${OWNER_AT}) == place then
    ${SET_FREE}
    answer = 1
  elseif step == 'renew' then
    local ours = held and mark ~= ${byte(FREE)} and string.sub(held, ${OWNER_AT}) == place
    answer = ours and redis.call('PEXPIRE', lock, lease) or 0
  elseif takes and not held and redis.call('EXISTS', lock .. ':queue') == 0 then
    answer = redis.pcall('PSETEX', lock, lease, afterNow .. place).err or now + 1
  else
    if not now then ${READ_CLOCK} end
    if not withQueue then ${WITH_QUEUE} end
    local done
    done, answer, second, third = pcall(withQueue, lock, held, step, place, ARGV[at])
    if not done then answer = type(answer) == 'table' and answer.err or tostring(answer) end
  end
  answered = answered + 1
  answers[answered] = answer
  if step ~= 'take' and step ~= 'free' and step ~= 'renew' then
    answered = answered + 1
    answers[answered] = second or 0
    if not takes then
      at = at + 1
      answered = answered + 1
      answers[answered] = third or 0
    end
  end
end
return answers`);

/**
 * Steps of one script. With more, the process would wait while the server works, and the server while the process does: of
 * many callers at once, those in one script are answered while the next script runs.
 */
const STEPS_AT_ONCE = 32;

/**
 * - `take`: takes the lock where it is free and nobody waits for it. `wait`: or queues, to be told. `poll`: or queues, without
 *   a message. Asked again they answer the same, and the place counts as alive for another lease.
 * - `renew`: for another lease, where it is held.
 * - `free`: gives it to who is next, where it is held; gives up the place that waits, else.
 * - `free-wait`, `free-poll`: and takes a further place.
 */
export type LockStep =
  | {
      readonly name: 'take' | 'wait' | 'poll' | 'renew' | 'free';
      readonly lock: string;
      readonly place: string;
    }
  | {
      readonly name: 'free-wait' | 'free-poll';
      readonly lock: string;
      readonly place: string;
      readonly nextPlace: string;
    };

export interface LockAnswer {
  /** To a step that gives the lock back, or renews it: whether it was held. */
  readonly held: boolean;
  /** To a step that takes it: the first token of the grant; else for how long it is somebody else's, in milliseconds, ≤ 0. */
  readonly taken: number;
  /** To a step that queues. */
  readonly heard: number;
}

interface Pending {
  readonly step: LockStep;
  resolve(answer: LockAnswer): void;
  reject(error: unknown): void;
}

/**
 * Takes the steps of this process. Those that are asked for in one turn of the event loop go together, in one round trip:
 * nobody waits longer for that, and a command of its own for each would cost more than the lock.
 */
export class LockSteps {
  readonly #redis: RedisPort;
  readonly #channels: string;
  readonly #leaseMs: number;
  #pending: Pending[] = [];

  /**
   * @param channels  In front of the name of a process: the channel on which it is told of a grant.
   * @param leaseMs  For how long each step takes or renews a lock, in milliseconds.
   */
  constructor(redis: RedisPort, channels: string, leaseMs: number) {
    this.#redis = redis;
    this.#channels = channels;
    this.#leaseMs = leaseMs;
  }

  /** @throws StoreError  As `RedisPort.command`. */
  take(step: LockStep): Promise<LockAnswer> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ step, resolve, reject });
      // After everything that goes on because of the same answers of the server.
      if (this.#pending.length === 1) process.nextTick(() => this.#send());
    });
  }

  #send(): void {
    const all = this.#pending;
    this.#pending = [];
    for (let from = 0; from < all.length; from += STEPS_AT_ONCE) {
      void this.#run(all.slice(from, from + STEPS_AT_ONCE));
    }
  }

  async #run(batch: readonly Pending[]): Promise<void> {
    const locks: string[] = [];
    const args: (string | number)[] = [this.#channels, this.#leaseMs];
    for (const { step } of batch) {
      locks.push(step.lock);
      args.push(step.name, step.place);
      if ('nextPlace' in step) args.push(step.nextPlace);
    }
    let answers: readonly unknown[];
    try {
      answers = (await steps(this.#redis, locks, args)) as readonly unknown[];
    } catch (error) {
      for (const { reject } of batch) reject(error);
      return;
    }
    let at = 0;
    for (const { step, resolve, reject } of batch) {
      const answer = answers[at++];
      const queues = step.name !== 'take' && step.name !== 'renew' && step.name !== 'free';
      const taken = 'nextPlace' in step ? answers[at++] : answer;
      const heard = queues ? answers[at++] : HEARD.no;
      if (typeof answer === 'string') reject(classifyErrorReply(new Error(answer), 'EVAL'));
      else resolve({ held: answer === 1, taken: Number(taken), heard: Number(heard) });
    }
  }
}
