import { refused, type SqlPort, transactWithRetry, versionedUpdate } from 'pawl';
import { onDatabase, race } from './stage.ts';

/** Sells one of the seats that are left. The retry begins a transaction anew, and reads anew. */
function buySeat(sql: SqlPort, eventId: number) {
  return transactWithRetry(
    sql,
    async (transaction) => {
      const { rows } = await transaction.execute({
        text: `SELECT seats, version FROM example_event WHERE id = ${eventId}`,
        values: [],
      });
      const event = { seats: Number(rows[0]?.seats), version: Number(rows[0]?.version) };
      if (event.seats === 0) return refused('sold-out');
      return versionedUpdate(transaction, {
        table: 'example_event',
        key: { id: eventId },
        version: { column: 'version', value: event.version },
        set: { seats: event.seats - 1 },
      });
    },
    // Each conflict is somebody else's sale, and there are ten seats: nobody loses more than ten times.
    { attempts: 11, backoffMs: 5, maxBackoffMs: 100, jitter: 1 },
  );
}

await onDatabase({ example_event: 'id integer PRIMARY KEY, seats integer, version integer' }, async (sql) => {
  await sql.execute({ text: 'INSERT INTO example_event VALUES (1, 10, 0)', values: [] });
  console.log(await race(50, () => buySeat(sql, 1)));
});
