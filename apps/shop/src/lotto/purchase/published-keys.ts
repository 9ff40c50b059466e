import { randomUUID } from 'node:crypto';
import { type Done, done, type RedisPort, type Refused, refused } from 'pawl';

export interface PublishedKeyOptions {
  /** How long a key blocks its duplicates while the work runs, and answers them afterwards, in milliseconds. */
  readonly ttlMs: number;
  /** Put in front of every key in Redis. */
  readonly prefix: string;
  /**
   * Told of what went wrong *after* the work had ended: its outcome could not be stored, or its key had expired
   * meanwhile. The outcome is answered all the same, since the work has taken effect.
   */
  onOutcomeNotStored(event: { key: string; cause: unknown }): void;
}

export interface PublishedKeys {
  /**
   * Runs `work` unless a request with the same `key` runs or has run.
   *
   * While it runs, others are refused with `in-progress`; once it is `done`, they get its value back, marked
   * `replayed`. A refusal gives the key back. After an `unknown` outcome, and when `work` throws, the key stays
   * taken until it expires, because the work may have taken effect.
   *
   * **What it does not promise:** work that takes longer than `ttlMs` may run twice, and so may work that ended
   * with an unknown outcome, once the key has expired, and anything at all when Redis forgets the key. Keep
   * a guard in the database for what must never happen twice.
   *
   * Cost: three round trips to Redis for the one that runs, one or two for the others.
   *
   * @throws StoreError  Redis could not be asked; the work did not run.
   */
  run<Other extends Refused | { readonly outcome: 'unknown' } = never>(
    key: string,
    work: () => Promise<Done<string> | Other>,
  ): Promise<Done<string> | Refused<'in-progress'> | Other>;
}

/**
 * Idempotency keys in Redis, in the form in which they are usually published: read the key, `SET NX` with
 * a time to live, and replace it by the result. The library's own (`idempotencyKeys`) are leased and renewed instead.
 *
 * Two things differ from the common form. The mark of the work in progress carries a token of its owner, and
 * only that owner may complete or release it; in the common form A's key expires, B starts under the same key,
 * and A's late deletion lets C run beside B. And an exception does not delete the key: the work may have taken
 * effect before it threw.
 */
export function publishedKeys(redis: RedisPort, options: PublishedKeyOptions): PublishedKeys {
  const store = redisKeys(redis, options);

  /** The work has ended by now, so whatever fails here must not hide its outcome. */
  async function afterwards(key: string, write: () => Promise<boolean>): Promise<void> {
    try {
      if (!(await write())) options.onOutcomeNotStored({ key, cause: 'the key had expired' });
    } catch (cause) {
      options.onOutcomeNotStored({ key, cause });
    }
  }

  return {
    async run(key, work) {
      const earlier = await store.read(key);
      if (earlier?.state === 'done') return done(earlier.result, { replayed: true });
      if (earlier?.state === 'in-progress') return refused('in-progress');

      const owner = randomUUID();
      if (!(await store.begin(key, owner))) return refused('in-progress');

      const outcome = await work();
      if (outcome.outcome === 'done') await afterwards(key, () => store.complete(key, owner, outcome.value));
      if (outcome.outcome === 'refused') await afterwards(key, () => store.release(key, owner));
      return outcome;
    },
  };
}

const IN_PROGRESS = 'IN_PROGRESS:';
const DONE = 'DONE:';

const COMPLETE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1`;

const RELEASE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`;

/** How idempotency keys lie in Redis: `IN_PROGRESS:<owner>`, then `DONE:<result>`, both with a time to live. */
function redisKeys(redis: RedisPort, options: { ttlMs: number; prefix: string }) {
  const { ttlMs, prefix } = options;
  return {
    async read(
      key: string,
    ): Promise<{ state: 'in-progress' } | { state: 'done'; result: string } | undefined> {
      const stored = await redis.command('GET', prefix + key);
      if (typeof stored !== 'string') return undefined;
      if (stored.startsWith(DONE)) return { state: 'done', result: stored.slice(DONE.length) };
      return { state: 'in-progress' };
    },

    /** Whether the key was free and is now `owner`'s. */
    async begin(key: string, owner: string): Promise<boolean> {
      return (await redis.command('SET', prefix + key, IN_PROGRESS + owner, 'PX', ttlMs, 'NX')) === 'OK';
    },

    /** Whether `owner` still held the key. */
    async complete(key: string, owner: string, result: string): Promise<boolean> {
      const stored = await redis.command(
        'EVAL',
        COMPLETE,
        1,
        prefix + key,
        IN_PROGRESS + owner,
        DONE + result,
        ttlMs,
      );
      return stored === 1;
    },

    /** Whether `owner` still held the key. */
    async release(key: string, owner: string): Promise<boolean> {
      return (await redis.command('EVAL', RELEASE, 1, prefix + key, IN_PROGRESS + owner)) === 1;
    },
  };
}
