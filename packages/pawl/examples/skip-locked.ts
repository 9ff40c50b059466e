import { conditionalUpdate, lockAvailableRows, type SqlPort } from 'pawl';
import { onDatabase } from './stage.ts';

/** Does the next job that nobody else is at. @returns its id, or undefined where there is none. */
function doNextJob(sql: SqlPort): Promise<number | undefined> {
  return sql.transaction(async (transaction) => {
    const jobs = { table: 'example_job', expect: { state: 'new' }, columns: ['id'], orderBy: 'id', limit: 1 };
    const [row] = await lockAvailableRows(transaction, jobs);
    if (row === undefined) return undefined;
    const id = Number(row.id);
    await conditionalUpdate(transaction, {
      table: 'example_job',
      key: { id },
      expect: { state: 'new' },
      set: { state: 'done' },
    });
    return id;
  });
}

await onDatabase({ example_job: 'id integer PRIMARY KEY, state varchar(10)' }, async (sql) => {
  const jobs = Array.from({ length: 100 }, (_, id) => `(${id}, 'new')`);
  await sql.execute({ text: `INSERT INTO example_job VALUES ${jobs}`, values: [] });
  const ids: number[] = [];
  const worker = async () => {
    for (let id = await doNextJob(sql); id !== undefined; id = await doNextJob(sql)) ids.push(id);
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  console.log(`${ids.length} jobs done, ${new Set(ids).size} different ones`);
});
