import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConformanceCase } from './case.ts';
import type { OnLockBench } from './lock-bench.ts';
import { hadIt, hold, keptIt, lostIt, neverTwo, tokensGrow, wasRefused } from './lock-sections.ts';
import { LONG, NO_WAIT, SHORT } from './lock-times.ts';
import { onlyValue } from './race.ts';

/** In which those who were let go on would do what they must not, in milliseconds. */
const HEARD_MS = 300;

/** Processes that are killed, or stand still. */
export function distributedLockProcessCases(onBench: OnLockBench): readonly ConformanceCase[] {
  return [
    {
      name: 'distributed lock: when its process is killed, the next goes on',
      run: () =>
        onBench(async ({ hosts, here, queued }) => {
          const [[first], other] = [await hosts(), await here()];
          const keys = [randomUUID()];
          const killed = first.start(hold, { keys, ...SHORT });
          await killed.reached('in the section');
          const next = other.start(hold, { keys, ...LONG });
          await queued(1);
          await first.signal('SIGKILL');
          await next.reached('in the section');
          next.pass('in the section');
          keptIt(await onlyValue(next));
        }),
    },
    {
      name: 'distributed lock: when its process stands still, the next goes on; it is told, and its late end takes nothing from the next',
      run: () =>
        onBench(async ({ hosts, here }) => {
          const [[first, second], third] = [await hosts(), await here()];
          const keys = [randomUUID()];
          const stopped = first.start(hold, { keys, ...SHORT });
          await stopped.reached('in the section');
          await first.signal('SIGSTOP');
          const next = second.start(hold, { keys, ...LONG });
          await next.reached('in the section');
          await first.signal('SIGCONT');
          await stopped.reached('told');
          stopped.pass('in the section');
          const lost = lostIt(await onlyValue(stopped));
          const late = third.start(hold, { keys, ...NO_WAIT });
          late.pass('in the section');
          wasRefused(await onlyValue(late));
          next.pass('in the section');
          const kept = keptIt(await onlyValue(next));
          assert.ok(kept.token > lost.token, `${kept.token} after ${lost.token}`);
        }),
    },
    {
      name: 'distributed lock: when the processes that wait are killed, the next behind them goes on',
      run: () =>
        onBench(async ({ hosts, here, queued }) => {
          const [both, first, last] = [await hosts(), await here(), await here()];
          const keys = [randomUUID()];
          const holder = first.start(hold, { keys, ...LONG });
          await holder.reached('in the section');
          for (const host of both) host.start(hold, { keys, ...SHORT });
          await queued(2);
          const next = last.start(hold, { keys, ...LONG });
          await queued(3);
          for (const host of both) await host.signal('SIGKILL');
          holder.pass('in the section');
          await next.reached('in the section');
          next.pass('in the section');
          tokensGrow([keptIt(await onlyValue(holder)), keptIt(await onlyValue(next))]);
        }),
    },
    {
      name: 'distributed lock: when who holds it and who waits are killed, nothing is left',
      run: () =>
        onBench(async ({ hosts, empty, queued }) => {
          const [first, second] = await hosts();
          const keys = [randomUUID()];
          const holder = first.start(hold, { keys, ...SHORT });
          await holder.reached('in the section');
          second.start(hold, { keys, ...SHORT });
          await queued(1);
          // The one that waits is not to be given it.
          await Promise.all([second.signal('SIGKILL'), first.signal('SIGKILL')]);
          await empty();
        }),
    },
    {
      name: 'distributed lock: when the processes that wait stand still, the next behind them goes on, and they have their turn later',
      run: () =>
        onBench(async ({ hosts, here, queued }) => {
          const [both, first, last] = [await hosts(), await here(), await here()];
          const keys = [randomUUID()];
          const holder = first.start(hold, { keys, ...LONG });
          await holder.reached('in the section');
          const stopped = both.map((host) => host.start(hold, { keys, ...SHORT }));
          for (const one of stopped) one.pass('in the section');
          await queued(2);
          const next = last.start(hold, { keys, ...SHORT });
          await queued(3);
          for (const host of both) await host.signal('SIGSTOP');
          holder.pass('in the section');
          await next.reached('in the section');
          for (const host of both) await host.signal('SIGCONT');
          await sleep(HEARD_MS);
          next.pass('in the section');
          const sections = [keptIt(await onlyValue(holder)), keptIt(await onlyValue(next))];
          for (const one of stopped) sections.push(hadIt(await onlyValue(one)));
          neverTwo(sections);
          tokensGrow(sections);
        }),
    },
  ];
}
