import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { startGuardian } from '../../../packages/race-lab/src/cluster/guardian.ts';
import { startNodeService } from '../../../packages/race-lab/src/cluster/node-service.ts';
import { freePort } from '../../../packages/race-lab/src/cluster/ports.ts';
import { isStopped } from '../../../packages/race-lab/src/cluster/process-tree.ts';
import { until } from '../../../test/barrier.ts';
import type { Ends, Reply } from './harness.ts';

/** An instance of the shop in a process of its own, which can be stopped and killed. It ends with the test, unless `ends` says when. */
export async function startOwnProcess(env: Readonly<Record<string, string>>, ends: Ends = onTestFinished) {
  const guardian = await startGuardian();
  ends(async () => {
    await guardian.end();
  });
  const service = await startNodeService(guardian, {
    name: 'own-process',
    main: fileURLToPath(new URL('../src/main.ts', import.meta.url)),
    env: {
      SERVER_NAME: 'own-process',
      PAYMENT_BASE_URL: 'http://127.0.0.1:1',
      PAYMENT_SECRET_KEY: 'test_sk_sandbox',
      LAB_MODE: '1',
      LOG_LEVEL: 'silent',
      ...env,
    },
    port: freePort,
    signal: new AbortController().signal,
  });
  return {
    url: service.baseUrl,
    /** All that it has written so far. */
    log: () => readFile(join(guardian.directory, 'own-process', 'output.log'), 'utf8'),
    /** Resolves when it stands still. @throws when the request that was to stop it is answered before. */
    async stopped(stopping: Promise<Reply>) {
      let answer: Reply | undefined;
      stopping.then(
        (reply) => {
          answer = reply;
        },
        () => undefined, // Whoever waits for the answer hears of it.
      );
      await until(() => answer !== undefined || isStopped(service.pid));
      if (answer !== undefined) throw new Error(`it did not stop: ${answer.text}`);
    },
    goOn: () => service.signal('SIGCONT'),
    async kill() {
      await service.signal('SIGKILL');
      await service.exited;
    },
  };
}
