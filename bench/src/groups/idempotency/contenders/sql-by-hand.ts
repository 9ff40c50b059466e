import { type DatabaseName, openDatabase, statement } from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { guarded } from './guarded.ts';

const claim = {
  postgres: statement('INSERT INTO bench_result (id) VALUES (?) ON CONFLICT DO NOTHING'),
  mariadb: statement('INSERT IGNORE INTO bench_result (id) VALUES (?)'),
};
const complete = statement('UPDATE bench_result SET result = ? WHERE id = ?');
const read = statement('SELECT result FROM bench_result WHERE id = ?');

/** What claims and completes by hand: a commit of each for each caller, without lease, owner or fingerprint. */
export function sqlByHand(database: DatabaseName): OpenOperation {
  return async (urls) => {
    const { run, close } = openDatabase(database, urls);
    return guarded({
      async run(key, work) {
        if ((await run(claim[database], [key])).affected === 0) {
          const { rows } = await run(read, [key]);
          return (rows[0]?.result as string | null | undefined) ?? undefined;
        }
        const result = await work();
        await run(complete, [result, key]);
        return result;
      },
      close,
    });
  };
}
