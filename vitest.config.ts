import { defineConfig } from 'vitest/config';
import SlowestFirst from './test/slowest-first.ts';

export default defineConfig({
  test: {
    include: ['{packages,apps}/*/test/**/*.test.ts', '{bench/,}test/**/*.test.ts'],
    globalSetup: 'test/global-setup.ts',
    reporters: ['minimal', './test/count-reporter.ts'],
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: SlowestFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
