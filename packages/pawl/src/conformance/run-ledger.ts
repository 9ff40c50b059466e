import { randomUUID } from 'node:crypto';
import { appendFile, readFile } from 'node:fs/promises';
import type { RedisPort, SqlPort } from '../ports.ts';
import { numberOf, rowsOf } from './business-tables.ts';

/** How often handlers have run: counted where all processes see it, and where it outlives them. */
export interface RunLedger {
  note(key: string): Promise<void>;
  count(key: string): Promise<number>;
}

/** One row for each run. */
export function sqlRuns(sql: SqlPort, table: string): RunLedger {
  return {
    async note(key) {
      await rowsOf(sql, `INSERT INTO ${table} (id, request_key) VALUES (?, ?)`, randomUUID(), key);
    },
    count: (key) => numberOf(sql, `SELECT COUNT(*) AS n FROM ${table} WHERE request_key = ?`, key),
  };
}

/** One counter for each key. */
export function redisRuns(redis: RedisPort, prefix: string): RunLedger {
  return {
    async note(key) {
      await redis.command('INCR', `${prefix}run:${key}`);
    },
    count: async (key) => Number(await redis.command('GET', `${prefix}run:${key}`)),
  };
}

/** One line for each run: what several processes append to a file arrives whole. */
export function fileRuns(path: string): RunLedger {
  return {
    note: (key) => appendFile(path, `${key}\n`),
    async count(key) {
      const lines = (await readFile(path, 'utf8').catch(() => '')).split('\n');
      return lines.filter((line) => line === key).length;
    },
  };
}
