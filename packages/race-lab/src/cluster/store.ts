/**
 * What the shop runs on: a private server, or the URL of one that is used in a throw-away schema.
 *
 * `mariadb://` is another spelling of `mysql://`.
 */
export type Store =
  | 'postgres'
  | 'mariadb'
  | `postgres://${string}`
  | `postgresql://${string}`
  | `mysql://${string}`
  | `mariadb://${string}`;

/** How a store is named, for messages and help. */
export const STORE_FORMS = 'postgres or mariadb (a private server), or a postgres:// or mysql:// URL';

export function isStore(text: string): text is Store {
  if (text === 'postgres' || text === 'mariadb') return true;
  if (!/^(postgres(ql)?|mysql|mariadb):\/\//.test(text) || !URL.canParse(text)) return false;
  try {
    const { username, password, pathname } = new URL(text);
    decodeURIComponent(username + password + pathname);
    return true;
  } catch {
    return false; // The drivers decode these parts, and "%zz" is no character.
  }
}

/** Which language a database speaks: MariaDB and MySQL are one here. */
export type DatabaseKind = 'postgres' | 'mysql';

/** @param store  A store, or the URL of a cluster's database. */
export function databaseKind(store: string): DatabaseKind {
  return /^postgres(ql)?(:|$)/.test(store) ? 'postgres' : 'mysql';
}
