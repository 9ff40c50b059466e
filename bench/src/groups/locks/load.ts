import { setTimeout as sleep } from 'node:timers/promises';
import { arrive, msSince } from '../../clock.ts';
import type { Contender } from './contender.ts';
import type {
  ContendOrder,
  ContendResult,
  ExcludeOrder,
  ExcludeResult,
  OwnKeysOrder,
  OwnKeysResult,
  Unserved,
} from './load-messages.ts';
import { openCounter } from './shared-counter.ts';

/** How long the first holder stays, in milliseconds: long enough for the second to have asked. */
const HELD_MS = 50;

/** Runs the workers of one process: they all ask in the same tick, at the moment that the order names. */
export async function contend(contender: Contender, order: ContendOrder): Promise<ContendResult> {
  const { key, workers, startAt, untilMs, sectionMs } = order;
  const counter = openCounter(order.counterFile);
  const seen = { workers: [], askedMs: [], enteredMs: [], leftMs: [] } as Record<SectionColumn, number[]>;
  const unserved = countUnserved();

  async function work(worker: number): Promise<void> {
    do {
      const askedMs = msSince(startAt);
      await unserved.serve(() =>
        contender.section(key, async () => {
          const enteredMs = msSince(startAt);
          const value = counter.read();
          await new Promise((resolve) => setTimeout(resolve, sectionMs));
          counter.write(value + 1);
          seen.workers.push(worker);
          seen.askedMs.push(askedMs);
          seen.enteredMs.push(enteredMs);
          seen.leftMs.push(msSince(startAt));
        }),
      );
    } while (untilMs !== null && msSince(startAt) < untilMs);
  }

  try {
    await arrive(startAt);
    await Promise.all(Array.from({ length: workers.count }, (_, index) => work(workers.first + index)));
  } finally {
    counter.close();
  }
  return {
    workers: Float64Array.from(seen.workers),
    askedMs: Float64Array.from(seen.askedMs),
    enteredMs: Float64Array.from(seen.enteredMs),
    leftMs: Float64Array.from(seen.leftMs),
    ...unserved.counted(),
  };
}

type SectionColumn = 'workers' | 'askedMs' | 'enteredMs' | 'leftMs';

/** Takes locks that nobody else wants, and gives them back. */
export async function takeOwnKeys(contender: Contender, order: OwnKeysOrder): Promise<OwnKeysResult> {
  const { prefix, callers, until } = order;
  const pairMs: number[] = [];
  const unserved = countUnserved();
  const startMs = performance.now();

  async function call(caller: number): Promise<void> {
    const key = `${prefix}${caller}`;
    for (let pairs = 0; 'ms' in until || pairs < until.pairsEach; pairs++) {
      const askedMs = performance.now();
      if ('ms' in until && askedMs - startMs >= until.ms) return;
      if (await unserved.serve(() => contender.section(key, async () => undefined))) {
        pairMs.push(performance.now() - askedMs);
      }
    }
  }

  await Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)));
  return {
    durationMs: performance.now() - startMs,
    pairMs: Float64Array.from(pairMs),
    ...unserved.counted(),
  };
}

/**
 * Asks for a lock while another one holds it, and once more when it was given back.
 *
 * @param second  The same, opened a second time; or the same itself, where it reaches no further than its process.
 */
export async function exclude(
  first: Contender,
  second: Contender,
  { key }: ExcludeOrder,
): Promise<ExcludeResult> {
  const wrong: string[] = [];
  const entered = Promise.withResolvers<void>();
  let held = false;
  const holding = first.section(key, async () => {
    held = true;
    entered.resolve();
    await sleep(HELD_MS);
    held = false;
  });
  if (await Promise.race([entered.promise, holding.then((granted) => !granted)])) {
    return ['a lock that nobody held was not granted'];
  }
  await second.section(key, async () => {
    if (held) wrong.push('a lock was granted while another one held it');
  });
  await holding;
  if (!(await second.section(key, async () => undefined))) {
    wrong.push('a lock that had been given back was not granted');
  }
  return wrong;
}

function countUnserved() {
  let notGranted = 0;
  let errors = 0;
  let firstError: string | null = null;
  return {
    /** @returns whether `section` ran. Never throws. */
    async serve(section: () => Promise<boolean>): Promise<boolean> {
      try {
        if (await section()) return true;
        notGranted++;
      } catch (error) {
        errors++;
        firstError ??= String(error);
      }
      return false;
    },
    counted: (): Unserved => ({ notGranted, errors, firstError }),
  };
}
