import type { Operation } from '../../operations/operation.ts';
import { IN_PROGRESS, keyOf, RAN, REPLAYED, resultOf, WRONG_RESULT } from '../result.ts';

/** Something that keeps work from being done twice under one key. */
export interface Guard {
  /**
   * Has `work` done, or its result again.
   *
   * @returns undefined where somebody is at work under this key.
   */
  run(key: string, work: () => Promise<string>): Promise<string | undefined>;
  close(): Promise<void>;
}

/** Work that does nothing, behind the guard. */
export function guarded({ run, close }: Guard): Operation {
  return {
    async operate(number) {
      const key = keyOf(number);
      let ran = false;
      const result = await run(key, async () => {
        ran = true;
        return resultOf(key);
      });
      if (result === undefined) return IN_PROGRESS;
      if (result !== resultOf(key)) return WRONG_RESULT;
      return ran ? RAN : REPLAYED;
    },
    close,
  };
}
