import { randomBytes } from 'node:crypto';
import type { StoreError } from '../errors.ts';
import { RENEWALS_PER_LEASE } from '../lease-renewal.ts';
import type { LockAsk, LockGrant, LockPlace, LockStore } from '../lock-store.ts';
import type { RedisPort, RedisSubscriber, RedisSubscription } from '../ports.ts';
import { HEARD, type LockAnswer, LockSteps } from './lock-script.ts';

export interface RedisLockStoreOptions {
  /** Put in front of every key and channel in Redis. */
  readonly prefix?: string;
}

/** Any: giving a lock back leases nothing. */
const FORGOTTEN_LEASE_MS = 1_000;

/** How often a place shows that it is still there, in one length of the lease. */
const LOOKS_PER_LEASE = RENEWALS_PER_LEASE;

/** How often a place looks that messages do not reach, and a step is tried again that must not be left, in milliseconds. */
const UNHEARD_LOOK_MS = 100;

/** After which a message is not late but lost, in milliseconds. */
const LATE_MESSAGE_MS = 1_000;

/**
 * Locks in Redis.
 *
 * Who gives a lock back gives it, in the same step, to the process that has waited longest, and a message tells that. So
 * nobody asks again and again while a lock is held; but a process that waits shows three times in a lease that it is still
 * there, and looks when the lease that it knows of is over. A message that is lost costs no more than that, and its
 * connection is replaced; a process that cannot listen, or is not allowed to, keeps its place and looks ten times a second.
 * Who is not connected any more, or has not been heard of for a lease, is passed over.
 *
 * **What it does not promise:** that a lock is held by one alone. Redis may forget: a server that restarts empty, is
 * flushed, evicts keys, or fails over to a replica that had not heard of the lock, gives it to a second holder. So do two
 * servers at once. Where that costs money, register the token (`registerFence`): tokens go on growing then, with the clock
 * of Redis. Against eviction: `maxmemory-policy noeviction`.
 *
 * Nothing is kept in Redis of a key that nobody uses for the length of a lease. Both connections must come to the same
 * server; Redis Cluster is not supported. Redis 5 or newer. Make one for each `distributedLocks`, which closes it.
 *
 * Cost: two round trips where nobody else wants the lock. Where others wait, one for up to sixteen pieces of work of one
 * process.
 */
export function redisLockStore(
  redis: RedisPort,
  subscriber: RedisSubscriber,
  { prefix = 'pawl:lock:' }: RedisLockStoreOptions = {},
): LockStore {
  const queue = new Queue(redis, subscriber, prefix);
  return {
    kind: 'redis',
    // In braces, or the lock of one key would be the queue of another. They also keep what belongs together in one slot.
    queue: (key, ask) => new Place(queue, `${prefix}{${key}}`, ask).begin(),
    async close() {
      queue.close();
    },
  };
}

/** The places of this process: their names, and the messages for them. */
class Queue {
  readonly #redis: RedisPort;
  /** By the length of the lease, which is the same for all, mostly. */
  readonly #steps = new Map<number, LockSteps>();
  readonly #process = randomBytes(12).toString('base64url');
  readonly #prefix: string;
  readonly #channels: string;
  /** Those that may be told something. */
  readonly #places = new Map<string, Place>();
  /** Those that have found out for themselves what a message should tell, and may be on its way. */
  readonly #untold = new Set<string>();
  readonly #subscription: RedisSubscription;
  #listening = false;
  #named = 0;

  constructor(redis: RedisPort, subscriber: RedisSubscriber, prefix: string) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#channels = `${prefix}granted:`;
    this.#subscription = subscriber.subscribe(this.#channels + this.#process, {
      message: (text) => this.#told(text),
      listening: () => this.#hears(true),
      lost: () => this.#hears(false),
    });
  }

  stepsFor(leaseMs: number): LockSteps {
    const found = this.#steps.get(leaseMs);
    if (found !== undefined) return found;
    const steps = new LockSteps(this.#redis, this.#channels, leaseMs);
    this.#steps.set(leaseMs, steps);
    return steps;
  }

  /** Whether a message would be heard, as far as is known. */
  get listening(): boolean {
    return this.#listening;
  }

  newName(): string {
    return `${this.#process}:${++this.#named}`;
  }

  add(place: Place): void {
    this.#places.set(place.name, place);
  }

  delete(place: Place): void {
    this.#places.delete(place.name);
  }

  /** A grant was found without its message. Where that does not come either, the connection is deaf. */
  expects({ name }: Place): void {
    this.#untold.add(name);
    const comesLate = () => {
      if (this.#untold.delete(name)) this.deaf();
    };
    setTimeout(comesLate, LATE_MESSAGE_MS).unref();
  }

  /** Nothing is heard, although the connection seems to be there. */
  deaf(): void {
    if (!this.#listening) return;
    this.#hears(false);
    this.#subscription.replace();
  }

  close(): void {
    this.#listening = false;
    this.#subscription.stop();
  }

  /** Whoever waits tells Redis how to reach him now; and what was published before may have been missed. */
  #hears(listening: boolean): void {
    this.#listening = listening;
    for (const place of [...this.#places.values()]) place.lookNow();
  }

  #told(text: string): void {
    const [number, first, ...rest] = text.split(' ');
    const name = `${this.#process}:${number}`;
    this.#untold.delete(name);
    const place = this.#places.get(name);
    if (place !== undefined) {
      place.told(Number(first));
      return;
    }
    // Of a place that was given up: a step of its own came late, over a connection that had been lost. A client may put
    // something in front of the names of keys.
    const lock = rest.join(' ');
    const steps = this.stepsFor(FORGOTTEN_LEASE_MS);
    const step = { name: 'free', lock: lock.slice(lock.indexOf(`${this.#prefix}{`)), place: name } as const;
    steps.take(step).catch(() => undefined);
  }
}

/** A place in the queue of one lock, and the lock itself when it is its turn. */
class Place implements LockPlace {
  readonly name: string;
  trouble: StoreError | undefined;
  readonly #queue: Queue;
  readonly #steps: LockSteps;
  readonly #lock: string;
  readonly #ask: LockAsk;
  readonly #settled = Promise.withResolvers<LockGrant | undefined>();
  /** What gives back the lock that this place comes after, and takes the place; until that has been answered. */
  #after: ((how: 'wait' | 'poll') => Promise<LockAnswer>) | undefined;
  #waiting = true;
  #left = false;
  #asked = false;
  #looking = false;
  #lookAgain = false;
  /** A moment before the place was last known to be in the queue: a lease that a message tells of counts from later. */
  #queuedAtMs: number | undefined;
  /** Whether it was last known to be told of a grant. */
  #told = false;
  #timer: NodeJS.Timeout | undefined;

  /** It asks for nothing yet: `begin`, or `follow`. */
  constructor(queue: Queue, lock: string, ask: LockAsk) {
    this.name = queue.newName();
    this.#queue = queue;
    this.#steps = queue.stepsFor(ask.leaseMs);
    this.#lock = lock;
    this.#ask = ask;
  }

  begin(): this {
    void this.#look();
    return this;
  }

  get granted(): Promise<LockGrant | undefined> {
    return this.#settled.promise;
  }

  /** By a message, when an answer may have said it already. */
  told(firstToken: number): void {
    if (this.#waiting) this.#grant(firstToken, this.#queuedAtMs ?? performance.now());
  }

  /** There may be something new. */
  lookNow(): void {
    if (!this.#waiting) return;
    if (this.#looking) this.#lookAgain = true;
    else void this.#look();
  }

  async leave(): Promise<void> {
    this.#stop();
    this.#left = true;
    // Where it cannot be asked, the place, or the lock, ends with its lease.
    await this.#giveBack().catch(() => undefined);
  }

  /** Takes its place when `before` is given back, in one step. @returns whether `before` was held. */
  follow(before: Place): Promise<boolean> {
    const released = Promise.withResolvers<boolean>();
    this.#asked = true;
    this.#after = async (how) => {
      try {
        const answer = await before.#steps.take({
          name: `free-${how}`,
          lock: this.#lock,
          place: before.name,
          nextPlace: this.name,
        });
        released.resolve(answer.held);
        return answer;
      } catch (error) {
        released.reject(error);
        throw error;
      }
    };
    void this.#look();
    return released.promise;
  }

  async #look(): Promise<void> {
    clearTimeout(this.#timer);
    this.#looking = true;
    this.#lookAgain = false;
    // Not the first time: a lock that is free needs no queue, and a place in it no messages.
    const queues = this.#ask.wait && this.#asked;
    const how = this.#queue.listening ? 'wait' : 'poll';
    const sentMs = performance.now();
    if (queues) {
      // Before it is sent: the message may be there before the answer.
      this.#queue.add(this);
      this.#queuedAtMs ??= sentMs;
    }
    try {
      const answer = await (this.#after?.(how) ?? this.#step(queues ? how : 'take'));
      this.#looking = false;
      this.#answered(answer, sentMs, queues ? how : 'take');
    } catch (error) {
      this.#looking = false;
      this.#failed(error as StoreError);
    }
  }

  #answered({ taken, heard }: LockAnswer, sentMs: number, how: 'take' | 'wait' | 'poll'): void {
    if (!this.#waiting) {
      // Left meanwhile, and its step came after that.
      if (this.#left && taken > 0) void this.leave();
      return;
    }
    this.trouble = undefined;
    this.#asked = true;
    this.#after = undefined;
    if (taken > 0) {
      if (heard === HEARD.granted && this.#told) this.#queue.expects(this);
      this.#grant(taken, sentMs);
    } else if (this.#ask.wait) this.#waitOn(-taken, sentMs, how, heard === HEARD.yes);
    else {
      this.#stop();
      this.#queue.delete(this);
      this.#settled.resolve(undefined);
    }
  }

  /** @param leftMs  For how long the lock is somebody else's, if he does not renew it. */
  #waitOn(leftMs: number, sentMs: number, how: 'take' | 'wait' | 'poll', heard: boolean): void {
    this.#queue.add(this);
    this.#told = heard;
    // Since it was asked the last time nothing can have been granted and have ended, unless that was a lease ago: then a
    // message may be on its way yet, of a grant that somebody else has had since.
    if (how !== 'take' && performance.now() - (this.#queuedAtMs ?? sentMs) < this.#ask.leaseMs)
      this.#queuedAtMs = sentMs;
    if (this.#lookAgain || how === 'take') {
      void this.#look();
      return;
    }
    // Redis does not see the connection that is believed to be there.
    if (how === 'wait' && !heard) this.#queue.deaf();
    // By then the lock has ended, if its holder has died; or the place has, if nothing is heard of it.
    const soonMs = Math.min(leftMs + 1, this.#ask.leaseMs / LOOKS_PER_LEASE);
    if (!this.#looking) this.#lookAfter(heard ? soonMs : Math.min(soonMs, UNHEARD_LOOK_MS));
  }

  #failed(error: StoreError): void {
    if (!this.#waiting) return;
    this.trouble = error;
    if (this.#asked) {
      this.#queue.add(this);
      this.#lookAfter(Math.min(UNHEARD_LOOK_MS, this.#ask.leaseMs / LOOKS_PER_LEASE));
      return;
    }
    this.#stop();
    this.#settled.reject(error);
    // Where it may have been granted all the same, it is given back.
    if (error.effect === 'unknown') void this.leave();
    else this.#queue.delete(this);
  }

  #lookAfter(ms: number): void {
    this.#timer = setTimeout(() => void this.#look(), ms);
    this.#timer.unref();
  }

  #grant(firstToken: number, leasedAtMs: number): void {
    this.#stop();
    this.#settled.resolve({
      firstToken,
      leasedAtMs,
      renew: async () => (await this.#step('renew')).held,
      release: () => this.#giveBack(),
      releaseAndQueue: () => {
        this.#queue.delete(this);
        const place = new Place(this.#queue, this.#lock, { ...this.#ask, wait: true });
        return Object.assign(place, { released: place.follow(this) });
      },
      onLost: () => undefined, // Redis tells nobody; a renewal finds out.
    });
  }

  /** Where it cannot be asked, it is asked again until the lease must be over. */
  async #giveBack(endMs = performance.now() + this.#ask.leaseMs): Promise<boolean> {
    this.#queue.delete(this);
    try {
      return (await this.#step('free')).held;
    } catch (error) {
      const again = () => void this.#giveBack(endMs).catch(() => undefined);
      if (performance.now() < endMs) setTimeout(again, UNHEARD_LOOK_MS).unref();
      throw error;
    }
  }

  #stop(): void {
    this.#waiting = false;
    clearTimeout(this.#timer);
  }

  #step(name: 'take' | 'wait' | 'poll' | 'renew' | 'free'): Promise<LockAnswer> {
    return this.#steps.take({ name, lock: this.#lock, place: this.name });
  }
}
