import { expect, it } from 'vitest';
import { explore } from '../model/explore.ts';
import { mutants } from '../model/mutants/index.ts';
import { brokenText } from '../model/report.ts';

/** `npm run model` runs a hundred times as many, and shrinks what it finds. */
const SCHEDULES = 10_000;
/** A seed that the code has left behind finds later what it found at once. */
const MUTANT_SCHEDULES = 60_000;
const LONGEST_MS = 120_000;

it(
  'the durable purchase violates nothing, whoever dies, waits or is answered late',
  async () => {
    const { schedules, counts, broken } = await explore({ seed: 1, schedules: SCHEDULES });

    expect(broken && brokenText(broken)).toBeUndefined();
    expect(schedules).toBe(SCHEDULES);
    // Nothing is promised by schedules in which nothing happens.
    for (const seen of [
      'crash',
      'process stands still',
      'time-out',
      'message on its way for long',
      'arrived although nobody waited any more',
      'answer given again under its key',
      'client heard a replay',
      'taken over while calling',
      'taken over while unknown',
      'taken over while looking',
      'taken over while compensating',
      'write refused by the fence',
      'order PENDING → COMPLETE',
      'order PENDING → WAITING',
      'order PENDING → REFUNDING',
      'order COMPLETE → REFUNDING',
      'order REFUNDING → REFUNDED',
      'client heard overloaded',
      'stray given back',
      'fault: store-answer-lost',
      'fault: store-conflict',
    ]) {
      expect(counts[seen] ?? 0, seen).toBeGreaterThan(50);
    }
  },
  LONGEST_MS,
);

it.each(mutants)(
  'without a rule, harm is found: $name',
  async (mutant) => {
    const { broken } = await explore({
      seed: mutant.seed,
      schedules: MUTANT_SCHEDULES,
      mutant,
      shrinks: false,
    });

    expect(broken?.violation).toBeDefined();
  },
  LONGEST_MS,
);
