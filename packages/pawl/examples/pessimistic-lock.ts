import { done, refused, type SqlPort, withRowLock } from 'pawl';
import { onDatabase, race } from './stage.ts';

/** Sells one of the seats that are left: what was read under the lock stays true until the commit. */
function buySeat(sql: SqlPort, eventId: number, buyer: number) {
  const event = { table: 'example_event', key: { id: eventId }, columns: ['seats'], waitMs: 5_000 };
  return withRowLock(sql, event, async (row, transaction) => {
    if (Number(row.seats) === 0) return refused('sold-out');
    // Short, and nothing but the database: everybody else waits meanwhile, with a connection each.
    for (const text of [
      `UPDATE example_event SET seats = seats - 1 WHERE id = ${eventId}`,
      `INSERT INTO example_ticket VALUES (${eventId}, ${buyer})`,
    ]) {
      await transaction.execute({ text, values: [] });
    }
    return done({ buyer });
  });
}

const tables = {
  example_event: 'id integer PRIMARY KEY, seats integer',
  example_ticket: 'event_id integer, buyer integer',
};
await onDatabase(tables, async (sql) => {
  await sql.execute({ text: 'INSERT INTO example_event VALUES (1, 10)', values: [] });
  console.log(await race(50, (buyer) => buySeat(sql, 1, buyer)));
});
