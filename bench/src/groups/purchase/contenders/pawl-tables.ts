import { migrate, pawlTables } from 'pawl';
import type { ServerUrls } from '../../../servers.ts';
import type { DatabaseName } from '../../operations/contenders/database.ts';
import { openPort } from '../../operations/contenders/group-port.ts';

/** Makes the library's tables. @returns the name of that which has the durable calls. */
export async function makePawlTables(database: DatabaseName, urls: ServerUrls): Promise<string> {
  const { sql, close } = openPort(database, urls);
  try {
    await migrate(sql);
  } finally {
    await close();
  }
  return pawlTables().durableCall;
}
