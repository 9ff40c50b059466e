import type { LockHolder } from './lock-wait.ts';

/** Runs a statement without parameters. @throws LockViewError */
export type Query = <Row>(sql: string) => Promise<Row[]>;

/** A session as the processlist shows it. */
export interface Session {
  id: number;
  command: string | null;
  /** What it runs now; null where it runs nothing, also while its transaction is open. */
  info: string | null;
}

/**
 * @param session      Undefined for a transaction without one: it was prepared (XA), or the session has just ended.
 * @param transaction  What names it then.
 */
export function holderOf(session: Session | undefined, transaction: string, certain = true): LockHolder {
  return {
    session: session === undefined ? `none (transaction ${transaction})` : String(session.id),
    application: undefined,
    statement: session?.info ?? undefined,
    lastStatement: undefined,
    idleInTransaction: session === undefined || session.command === 'Sleep',
    certain,
  };
}

/** `` `shop`.`orders` `` as `orders` where `shop` is the schema that is looked at; else as `shop.orders`. */
export function tableName(quoted: string, schema: string | null): string {
  const plain = quoted.replaceAll('`', '');
  const prefix = `${schema}.`;
  return schema !== null && plain.startsWith(prefix) ? plain.slice(prefix.length) : plain;
}
