import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConformanceCase } from './case.ts';
import type { OnLockBench } from './lock-bench.ts';
import { hadIt, hold, keptIt, lostIt, neverTwo, tokensGrow } from './lock-sections.ts';
import { LONG, SHORT } from './lock-times.ts';
import { onlyValue } from './race.ts';

/** Longer than the lease, also where that is counted in whole seconds: by then it has been renewed over a new connection, or somebody else has the lock. */
const CUT_MS = 1_500;

/** Connections that are cut. */
export function distributedLockConnectionCases(onBench: OnLockBench): readonly ConformanceCase[] {
  return [
    {
      name: 'distributed lock: whose connection is cut keeps it over a new one, or is told',
      run: () =>
        onBench(async ({ here, proxy, queued }) => {
          const between = await proxy();
          const [first, second] = [await here(between.port), await here()];
          const keys = [randomUUID()];
          const cut = first.start(hold, { keys, ...SHORT });
          await cut.reached('in the section');
          const next = second.start(hold, { keys, ...LONG });
          await queued(1);
          between.cutAll();
          const taken = next.reached('in the section').then(() => true);
          const overtaken = await Promise.race([taken, sleep(CUT_MS, false, { ref: false })]);
          if (overtaken) await cut.reached('told');
          cut.pass('in the section');
          const own = await onlyValue(cut);
          await taken;
          next.pass('in the section');
          const kept = keptIt(await onlyValue(next));
          if (overtaken) {
            const { token } = lostIt(own);
            assert.ok(kept.token > token, `${kept.token} after ${token}`);
          } else {
            const sections = [hadIt(own), kept];
            neverTwo(sections);
            tokensGrow(sections);
          }
        }),
    },
    {
      name: 'distributed lock: who waits, and whose connection is cut, has its turn all the same',
      run: () =>
        onBench(async ({ here, proxy, queued }) => {
          const between = await proxy();
          const [first, second] = [await here(), await here(between.port)];
          const keys = [randomUUID()];
          const holder = first.start(hold, { keys, ...LONG });
          await holder.reached('in the section');
          const cut = second.start(hold, { keys, ...SHORT });
          await queued(1);
          between.cutAll();
          holder.pass('in the section');
          await cut.reached('in the section');
          cut.pass('in the section');
          tokensGrow([keptIt(await onlyValue(holder)), hadIt(await onlyValue(cut))]);
        }),
    },
  ];
}
