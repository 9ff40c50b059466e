import type { DriveOrder, DriveResult, EachOrder, EachResult } from './load-messages.ts';
import type { Operation } from './operation.ts';

/** Runs the callers of one process. */
export async function drive(operation: Operation, order: DriveOrder): Promise<DriveResult> {
  const { callers, first, numbers, until } = order;
  const latencyMs: number[] = [];
  const outcomes: Record<string, number> = {};
  let asked = 0;
  let errors = 0;
  let firstError: string | null = null;
  const startMs = performance.now();

  async function call(): Promise<void> {
    for (;;) {
      const askedMs = performance.now();
      if ('ms' in until ? askedMs - startMs >= until.ms : asked >= until.operations) return;
      const number = first + (numbers === null ? asked : asked % numbers);
      asked++;
      try {
        const outcome = await operation.operate(number);
        latencyMs.push(performance.now() - askedMs);
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      } catch (error) {
        errors++;
        firstError ??= String(error);
      }
    }
  }

  await Promise.all(Array.from({ length: callers }, call));
  const durationMs = performance.now() - startMs;
  return { durationMs, latencyMs: Float64Array.from(latencyMs), outcomes, errors, firstError };
}

/** Asks with each number. Never throws. */
export async function askEach(
  operation: Operation,
  { callers, numbers }: Omit<EachOrder, 'kind'>,
): Promise<EachResult> {
  const found: string[] = Array(numbers.length);
  let next = 0;
  async function call(): Promise<void> {
    while (next < numbers.length) {
      const index = next++;
      found[index] = await operation.operate(numbers[index] as number).catch(String);
    }
  }
  await Promise.all(Array.from({ length: callers }, call));
  return found;
}
