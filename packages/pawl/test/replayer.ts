import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { addressOf } from '../src/conformance/open.ts';
import {
  type Answer,
  done,
  type IdempotencyStore,
  type IdempotentRequest,
  idempotencyKeys,
  migrate,
  redisIdempotencyStore,
  sqlIdempotencyStore,
} from '../src/index.ts';

/**
 * A process that answers the requests of a service once, or replays them: `--url U --answers N` stores N answers,
 * `--replays N` asks N times for what is stored, and tells on its standard output, as JSON, what it saw.
 */
export interface Replayed {
  readonly replays: number;
  /** Answers that were not, byte by byte, what had been stored. */
  readonly different: number;
  /** Handlers that ran although there was an answer. */
  readonly ran: number;
}

const AT_ONCE = 32;

/** Bytes that nobody takes for text, of every length from 0 to 3 kB; the same in every process. */
export function answerTo(index: number): Answer {
  const length = (index * 379) % 3_000;
  const body = Buffer.concat(
    Array.from({ length: Math.ceil(length / 64) }, (_, part) =>
      createHash('sha512').update(`${index}/${part}`).digest(),
    ),
  ).subarray(0, length);
  const headers = { 'content-type': 'application/octet-stream', etag: `"${index} ü \u{1f3ab}"` };
  return { status: 200 + (index % 200), headers, body };
}

function requestOf(index: number): IdempotentRequest {
  return { scope: ['member 1', 'POST /api/tickets'], key: `replayed ${index}`, payload: `payload ${index}` };
}

function isSame(one: Answer, other: Answer): boolean {
  return (
    one.status === other.status &&
    Buffer.compare(one.body, other.body) === 0 &&
    JSON.stringify(one.headers) === JSON.stringify(other.headers)
  );
}

async function openStore(url: string): Promise<{ store: IdempotencyStore; close(): Promise<void> }> {
  const address = addressOf(url);
  if (url.startsWith('redis')) {
    const { redis, close } = await (await import('./ports/ioredis.ts')).open(address);
    return { store: redisIdempotencyStore(redis), close };
  }
  const { open } = url.startsWith('postgres')
    ? await import('./ports/pg.ts')
    : await import('./ports/mysql2.ts');
  const { sql, close } = await open({ ...address, connections: 16 });
  await migrate(sql, {});
  return { store: sqlIdempotencyStore(sql), close };
}

/** Calls `work` for 0 … count−1, several at once. */
async function each(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { url: { type: 'string' }, answers: { type: 'string' }, replays: { type: 'string' } },
  });
  const { store, close } = await openStore(values.url ?? '');
  const keys = idempotencyKeys(store);
  const answers = Number(values.answers);
  const replays = Number(values.replays ?? 0);
  if (replays === 0) {
    await each(answers, async (index) => {
      await keys.run(requestOf(index), async () => done(answerTo(index)));
    });
  }
  const seen = { replays: 0, different: 0, ran: 0 };
  await each(replays, async (count) => {
    const index = count % answers;
    const outcome = await keys.run(requestOf(index), async () => {
      seen.ran++;
      return done(answerTo(index));
    });
    seen.replays++;
    const same = outcome.outcome === 'done' && outcome.replayed && isSame(outcome.value, answerTo(index));
    if (!same) seen.different++;
  });
  await close();
  process.stdout.write(`${JSON.stringify(seen satisfies Replayed)}\n`);
}

if (import.meta.main) await main();
