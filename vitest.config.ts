import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import SlowestFirst from './test/slowest-first.ts';

// The tests start hundreds of processes from the same sources, and each spends half of its start on reading them.
process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, 'node_modules/.cache/node-compile');

export default defineConfig({
  test: {
    include: ['{packages,apps}/*/test/**/*.test.ts', '{bench/,deploy/,}test/**/*.test.ts'],
    globalSetup: 'test/global-setup.ts',
    reporters: ['minimal', './test/count-reporter.ts'],
    pool: 'forks',
    // Most tests wait for servers and processes of their own: as many as two processors have leave a quarter of them idle.
    maxWorkers: 3,
    sequence: { sequencer: SlowestFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
