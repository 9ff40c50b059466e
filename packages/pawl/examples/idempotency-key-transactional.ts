import {
  defaultConflictRetry,
  done,
  migrate,
  refused,
  type SqlPort,
  transactionalIdempotencyKeys,
} from 'pawl';
import { onDatabase, race } from './stage.ts';

/** Work that is nothing but rows: the coupon and the answer are one commit, and a crash leaves neither. */
function openCoupons(sql: SqlPort) {
  // On MySQL a refusal ends those who wait for its end with a deadlock, all but one. They try again: at most nine times,
  // since each of the ten taps of a member is refused once.
  const retry = { ...defaultConflictRetry, attempts: 10 };
  const keys = transactionalIdempotencyKeys(sql, { waitMs: 5_000, retry });
  return (member: number, key: string) =>
    keys.run(
      { scope: [`member ${member}`, 'POST /coupons'], key, payload: '{"event":1}' },
      async (transaction) => {
        const run = (text: string) => transaction.execute({ text, values: [] });
        const { affectedRows } = await run(
          'UPDATE example_event SET coupons = coupons - 1 WHERE coupons > 0',
        );
        if (affectedRows === 0) return refused('sold-out');
        await run(`INSERT INTO example_coupon VALUES (${member})`);
        return done({ status: 201, body: Buffer.from('{"coupon":1}') });
      },
    );
}

await onDatabase({ example_event: 'coupons integer', example_coupon: 'member integer' }, async (sql) => {
  await migrate(sql);
  await sql.execute({ text: 'INSERT INTO example_event VALUES (3)', values: [] });
  const issue = openCoupons(sql);
  const key = crypto.randomUUID();
  // Five members, each of whom taps ten times; there are three coupons.
  console.log(await race(50, (caller) => issue(caller % 5, key)));
  const { rows } = await sql.execute({ text: 'SELECT member FROM example_coupon', values: [] });
  console.log(`coupons: ${rows.length}`);
});
