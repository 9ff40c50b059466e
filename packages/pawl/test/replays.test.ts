import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import {
  newMariadbServer,
  newPostgresServer,
  newRedisServer,
  type OwnServer,
} from '../../../test/own-server.ts';
import { answerTo, type Replayed } from './replayer.ts';

/**
 * Replays in all, over all stores: half of them before the restart of service and server, half after.
 * `PAWL_REPLAYS=100000 npm test -- packages/pawl/test/replays.test.ts` is the long form.
 */
const REPLAYS = Number(process.env.PAWL_REPLAYS ?? 6_000);
const ANSWERS = 200;
const PROCESSES = 2;
const LIMIT_MS = 600_000;

const servers: Record<string, () => Promise<OwnServer>> = {
  postgres: newPostgresServer,
  mariadb: newMariadbServer,
  redis: () => newRedisServer(),
};

/** A process of the service: it is new each time. */
async function replayer(url: string, ...args: string[]): Promise<Replayed> {
  const program = join(import.meta.dirname, 'replayer.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [program, '--url', url, ...args]);
  return JSON.parse(stdout);
}

test.each(Object.entries(servers))(
  '%s: replays are byte for byte the first answer, also after a crash of the server and new processes',
  async (_, newServer) => {
    const server = await newServer();
    const half = Math.ceil(REPLAYS / Object.keys(servers).length / 2 / PROCESSES);
    const replayAll = () =>
      Promise.all(
        Array.from({ length: PROCESSES }, () =>
          replayer(server.url, '--answers', String(ANSWERS), '--replays', String(half)),
        ),
      );
    const asStored = Array(PROCESSES).fill({ replays: half, different: 0, ran: 0 } satisfies Replayed);

    await replayer(server.url, '--answers', String(ANSWERS));
    expect(await replayAll()).toEqual(asStored);
    await server.kill();
    await server.start('kept');
    expect(await replayAll()).toEqual(asStored);
  },
  LIMIT_MS,
);

test('the answers are worth comparing: of all lengths, no two alike, and not text', () => {
  const answers = Array.from({ length: ANSWERS }, (_, index) => answerTo(index));
  const bodies = answers.map(({ body }) => Buffer.from(body).toString('hex'));
  expect(new Set(bodies).size).toBe(ANSWERS);
  expect(bodies).toContain('');
  const notText = answers.filter(({ body }) => Buffer.from(body).toString('utf8').includes('\ufffd'));
  expect(notText.length).toBeGreaterThan(ANSWERS / 2);
});
