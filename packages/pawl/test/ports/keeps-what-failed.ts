import type { OpenSqlPort } from '../../src/conformance/index.ts';
import { open as openPg } from './pg.ts';

/** Broken: a transaction whose work fails is committed all the same, as far as it came. */
export const open: OpenSqlPort = async (connection) => {
  const { sql, close } = await openPg(connection);
  return {
    close,
    sql: {
      ...sql,
      async transaction(work) {
        const ended = await sql.transaction((transaction) =>
          work(transaction).then(
            (value) => ({ value }),
            (error: unknown) => ({ error }),
          ),
        );
        if ('error' in ended) throw ended.error;
        return ended.value;
      },
    },
  };
};
