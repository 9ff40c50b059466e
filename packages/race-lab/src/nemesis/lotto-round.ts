import { setTimeout as sleep } from 'node:timers/promises';
import { withDatabase } from '../cluster/database-session.ts';

const STATEMENT_LIMIT_MS = 10_000;
const LOOK_PAUSE_MS = 15;

/** Opens a round of the lotto for sale, which no route does. @throws the driver's error */
export async function openRound(databaseUrl: string, roundId: number): Promise<void> {
  await withDatabase(databaseUrl, STATEMENT_LIMIT_MS, (query) =>
    query(
      `INSERT INTO lotto_round_info (id, sales_open_at, sales_close_at)
       VALUES (${roundId}, '2020-01-01 00:00:00', '2099-01-01 00:00:00')`,
    ),
  );
}

/**
 * Draws a round as soon as all its orders are being paid, or after `limitMs`.
 *
 * @throws the driver's error
 */
export async function drawRoundWhilePaid(
  databaseUrl: string,
  { roundId, orders, limitMs }: { roundId: number; orders: number; limitMs: number },
): Promise<void> {
  await withDatabase(databaseUrl, STATEMENT_LIMIT_MS, async (query) => {
    const endMs = performance.now() + limitMs;
    while (performance.now() < endMs) {
      const waiting = await query(
        `SELECT id FROM lotto_publish WHERE lotto_round_info_id = ${roundId} AND status <> 'WAITING'`,
      );
      if (waiting.length >= orders) break;
      await sleep(LOOK_PAUSE_MS);
    }
    await query(`UPDATE lotto_round_info SET drawn_at = CURRENT_TIMESTAMP WHERE id = ${roundId}`);
  });
}
