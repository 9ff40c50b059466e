import type { OpenSqlPort } from '../../src/conformance/index.ts';
import { StoreError } from '../../src/index.ts';
import { open as openPg } from './pg.ts';

/** Broken: it does everything again whose connection was lost. */
export const open: OpenSqlPort = async (connection) => {
  const { sql, close } = await openPg(connection);
  return {
    close,
    sql: {
      ...sql,
      execute: (statement) => again(() => sql.execute(statement)),
      transaction: (work) => again(() => sql.transaction(work)),
    },
  };
};

async function again<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StoreError && error.code === 'CONNECTION_LOST') return work();
    throw error;
  }
}
