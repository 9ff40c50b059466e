// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are lines of code.
import type { Mutant, NamedTest } from './mutant.ts';

/** Of the tests of one guard. */
const of =
  (guard: string) =>
  (name: string): NamedTest => ({ file: `test/${guard}.test.ts`, name });
const compare = of('conditional-update');
const claims = of('unique-claim');
const versions = of('optimistic-lock');
const retries = of('transaction');
const locks = of('pessimistic-lock');
const traps = of('traps');
const adapters = of('adapters');

const values: readonly Mutant[] = [
  {
    file: 'src/postgres/change-rows.ts',
    line: `if (typeof value === 'string') wellFormed(value);`,
    why: 'what is expected is not compared as another text',
    test: {
      file: 'test/batch-statements.test.ts',
      name: 'statements about many rows on postgres > change rows that are as they are expected, or none > are not looked for by text with half of a character: it would be compared as another',
    },
  },
  {
    file: 'src/postgres/sql.ts',
    line: `typeof value === 'string' ? wellFormed(value) : value`,
    replacement: 'value',
    why: 'text with half of a character would be stored as what it is not',
    test: claims(
      'postgres > unique claim > a key with half of a character is an error: two that differ would be one',
    ),
  },
  {
    file: 'src/mysql/sql.ts',
    line: `typeof value === 'string' ? wellFormed(value) : value`,
    replacement: 'value',
    why: 'text with half of a character would be stored as what it is not',
    test: claims(
      'mariadb > unique claim > a key with half of a character is an error: two that differ would be one',
    ),
  },
];

const conditionalUpdate: readonly Mutant[] = [
  {
    file: 'src/conditional-update.ts',
    line: `affectedRows === 0 ? refused('wrong-state') : `,
    why: 'who changed no row has lost',
    test: compare('postgres > conditional update > with it, one buyer wins and 49 are refused'),
  },
  {
    file: 'src/conditional-update.ts',
    line: 'if (changesNothing(update))',
    replacement: 'if (false)',
    why: 'an update that leaves the row as it expects it lets everybody through',
    test: compare(
      'postgres > conditional update > an update that only repeats what it expects would let everybody through, so it is refused',
    ),
  },
  {
    file: 'src/postgres/conditional-update.ts',
    line: 'sql.matches(merge(key, expect))',
    replacement: 'sql.matches(key)',
    why: 'the expected state is part of the condition',
    test: compare('postgres > conditional update > with it, one buyer wins and 49 are refused'),
  },
  {
    file: 'src/mysql/conditional-update.ts',
    line: 'sql.matches(merge(key, expect))',
    replacement: 'sql.matches(key)',
    why: 'the expected state is part of the condition',
    test: compare('mariadb > conditional update > with it, one buyer wins and 49 are refused'),
  },
  {
    file: 'src/postgres/sql.ts',
    line: 'value === null ? `${quote(column)} IS NULL` : ',
    why: 'no row holds "= NULL"',
    test: compare('postgres > conditional update > null is a value to expect and to set'),
  },
  {
    file: 'src/mysql/sql.ts',
    line: 'value === null ? `${quote(column)} IS NULL` : ',
    why: 'no row holds "= NULL"',
    test: compare('mariadb > conditional update > null is a value to expect and to set'),
  },
  {
    file: 'src/columns.ts',
    line: 'if (column in key) throw',
    replacement: 'if (false) throw',
    why: 'a column given twice would name another row',
    test: compare(
      'postgres > conditional update > a column cannot be given twice: it would name another row',
    ),
  },
];

const uniqueClaim: readonly Mutant[] = [
  {
    file: 'src/unique-claim.ts',
    line: 'return affectedRows === 1;',
    replacement: 'return true;',
    why: 'an insert that inserted nothing has lost',
    test: claims('postgres > unique claim > of 50 racers one claims the key, and 49 are told who holds it'),
  },
  {
    file: 'src/unique-claim.ts',
    line: `if (error instanceof StoreError && error.code === 'DUPLICATE_KEY') return false;`,
    why: 'a duplicate is a lost race, not a failure',
    test: claims('mariadb > unique claim > of 50 racers one claims the key, and 49 are told who holds it'),
  },
  {
    file: 'src/postgres/unique-claim.ts',
    line: ' ON CONFLICT DO NOTHING',
    why: 'a lost claim leaves the transaction usable',
    test: claims(
      'postgres > unique claim > a claim that is lost inside a transaction leaves the transaction usable',
    ),
  },
  {
    file: 'src/postgres/unique-claim.ts',
    line: 'DELETE FROM ${quote(table)} WHERE ${sql.matches(merge(key, owner))}',
    replacement: 'DELETE FROM ${quote(table)} WHERE ${sql.matches(key)}',
    why: 'nobody gives away what is another’s',
    test: claims('postgres > unique claim > only the owner gives a claim back'),
  },
  {
    file: 'src/mysql/unique-claim.ts',
    line: 'DELETE FROM ${quote(table)} WHERE ${sql.matches(merge(key, owner))}',
    replacement: 'DELETE FROM ${quote(table)} WHERE ${sql.matches(key)}',
    why: 'nobody gives away what is another’s',
    test: claims('mariadb > unique claim > only the owner gives a claim back'),
  },
  {
    file: 'src/mysql/unique-claim.ts',
    line: '`INSERT INTO',
    replacement: '`INSERT IGNORE INTO',
    why: 'IGNORE stores what does not fit, changed',
    test: claims(
      'mariadb > unique claim > a value that does not fit is an error, and is not stored otherwise',
    ),
  },
  {
    file: 'src/postgres/unique-claim.ts',
    line: 'SET ${assignment} WHERE ${sql.matches(merge(key, owner))}',
    replacement: 'SET ${assignment} WHERE ${sql.matches(key)}',
    why: 'nobody renews what is another’s by now',
    test: claims(
      'postgres > claim that expires > with it, its renewal and its release are fenced, and the successor’s row is untouched',
    ),
  },
  {
    file: 'src/mysql/unique-claim.ts',
    line: 'SET ${assignment} WHERE ${sql.matches(merge(key, owner))}',
    replacement: 'SET ${assignment} WHERE ${sql.matches(key)}',
    why: 'nobody renews what is another’s by now',
    test: claims(
      'mariadb > claim that expires > with it, its renewal and its release are fenced, and the successor’s row is untouched',
    ),
  },
  {
    file: 'src/postgres/unique-claim.ts',
    line: '`${sql.matches(key)} AND ${quote(expiry.column)} <= ${NOW}`;',
    replacement: '`${sql.matches(key)}`;',
    why: 'of many who have seen a lease over, one takes it',
    test: claims(
      'postgres > claim that expires > with it, of 50 who have seen it over one takes it, and 49 are told who',
    ),
  },
  {
    file: 'src/mysql/unique-claim.ts',
    line: '`${sql.matches(key)} AND ${quote(expiry.column)} <= ${NOW}`;',
    replacement: '`${sql.matches(key)}`;',
    why: 'of many who have seen a lease over, one takes it',
    test: claims(
      'mariadb > claim that expires > with it, of 50 who have seen it over one takes it, and 49 are told who',
    ),
  },
  {
    file: 'src/mysql/sql.ts',
    line: `const NOW = 'UTC_TIMESTAMP(6)';`,
    replacement: `const NOW = 'NOW(6)';`,
    why: 'sessions in two time zones agree when a lease ends',
    test: claims('mariadb > claim that expires > sessions in different time zones agree when it ends'),
  },
  {
    file: 'src/unique-claim.ts',
    line: 'if (savepoint !== undefined) await sql.execute(took ? savepoint.release : savepoint.rollBack);',
    why: 'a takeover that is refused leaves the transaction usable',
    test: claims(
      'postgres > claim that expires > another unique column refuses the takeover, and the transaction goes on',
    ),
  },
  {
    file: 'src/postgres/sweep.ts',
    line: ' AND ${over}`);',
    replacement: '`);',
    why: 'a ctid names one row of each partition',
    test: claims(
      'postgres > claim that expires > swept > in a partitioned table, a living claim of the same place stays',
    ),
  },
  {
    file: 'src/postgres/sweep.ts',
    line: '`${quote(column)} <= (SELECT ${NOW})`',
    replacement: "'true'",
    why: 'sweeping forgets only what is over',
    test: claims(
      'postgres > claim that expires > swept > those that are over go, oldest first and at most as many as one likes',
    ),
  },
  {
    file: 'src/mysql/sweep.ts',
    line: ' WHERE ${quote(column)} <= ${NOW} ORDER BY',
    replacement: ' ORDER BY',
    why: 'sweeping forgets only what is over',
    test: claims(
      'mariadb > claim that expires > swept > those that are over go, oldest first and at most as many as one likes',
    ),
  },
];

const optimisticLock: readonly Mutant[] = [
  {
    file: 'src/optimistic-lock.ts',
    line: 'expect: { [column]: version },',
    replacement: 'expect: {},',
    why: 'the version that was read is part of the condition',
    test: versions(
      'postgres > optimistic lock > of 50 racers that read the same version one writes, and the version grows by one',
    ),
  },
  {
    file: 'src/optimistic-lock.ts',
    line: `affectedRows === 0 ? refused('contended') : `,
    why: 'who changed no row was overtaken',
    test: versions(
      'mariadb > optimistic lock > of 50 racers that read the same version one writes, and the version grows by one',
    ),
  },
  {
    file: 'src/postgres/conditional-update.ts',
    line: 'if (increment !== undefined) assignments.push',
    replacement: 'if (false) assignments.push',
    why: 'a change counts the version up',
    test: versions('postgres > optimistic lock > one that does count it up does not'),
  },
  {
    file: 'src/mysql/conditional-update.ts',
    line: 'if (increment !== undefined) assignments.push',
    replacement: 'if (false) assignments.push',
    why: 'a change counts the version up',
    test: versions('mariadb > optimistic lock > one that does count it up does not'),
  },
  {
    file: 'src/optimistic-lock.ts',
    line: 'expect: { [column]: wholeNumber(column, value) },',
    replacement: 'expect: {},',
    why: 'what is verified is the version that was read',
    test: versions(
      'postgres > a version that is verified > is contended where the row has changed, or is gone',
    ),
  },
  {
    file: 'src/optimistic-lock.ts',
    line: `rows.length === 0 ? refused('contended') : `,
    why: 'a version that is not there any more is not verified',
    test: versions(
      'postgres > a version that is verified > is contended where the row has changed, or is gone',
    ),
  },
];

const transactions: readonly Mutant[] = [
  {
    file: 'src/transaction.ts',
    line: `if (result.outcome !== 'done') throw new RolledBackWith(result);`,
    why: 'a refusal leaves no half of its work behind',
    test: locks('postgres > pessimistic lock > a refusal inside rolls back what was written under the lock'),
  },
  {
    file: 'src/transaction.ts',
    line: 'return observed(RETRY, sql.dialect.name, retried<Result>, () => transact(sql, work), retry);',
    replacement: 'return transact(sql, (transaction) => retried(() => work(transaction), retry));',
    why: 'the retry is around the transaction, never in it',
    test: versions(
      'postgres > optimistic lock > each attempt has a transaction of its own, and what a lost one wrote is rolled back',
    ),
  },
  {
    file: 'src/transaction.ts',
    line: `if (result.outcome !== 'refused' || result.reason !== 'contended') return result;`,
    replacement: 'return result;',
    why: 'who was overtaken tries again',
    test: versions(
      'postgres > optimistic lock > with the retry around the transaction, every one of 20 increments lands',
    ),
  },
  {
    file: 'src/transaction.ts',
    line: `error.effect === 'none' &&\n    (error.code === 'DEADLOCK' || error.code === 'SERIALIZATION_FAILURE')`,
    replacement: 'true',
    why: 'what may have taken effect is never repeated',
    test: retries(
      'postgres > retry around the transaction > an outcome that is unknown, and an error that is no conflict, are never repeated',
    ),
  },
  {
    file: 'src/transaction.ts',
    line: `error.code === 'DEADLOCK' || `,
    why: 'the victim of a deadlock tries again',
    test: retries('mariadb > retry around the transaction > with it, both get through'),
  },
  {
    file: 'src/transaction.ts',
    line: ` || error.code === 'SERIALIZATION_FAILURE'`,
    why: 'who could not be serialized tries again',
    test: retries(
      'postgres > retry around the transaction > at SERIALIZABLE one of them meets a conflict, and is refused when it looks again',
    ),
  },
  {
    file: 'src/postgres/errors.ts',
    line: `'55P03': 'LOCK_TIMEOUT',`,
    why: 'a lock that was not granted is a time-out',
    test: traps(
      'on PostgreSQL > F24: an error inside a transaction > 40001 and 55P03 are a conflict and a time-out, and neither is anything else',
    ),
  },
  {
    file: 'src/postgres/errors.ts',
    line: `'40001': 'SERIALIZATION_FAILURE',`,
    why: 'a serialization failure is a conflict',
    test: traps(
      'on PostgreSQL > F24: an error inside a transaction > 40001 and 55P03 are a conflict and a time-out, and neither is anything else',
    ),
  },
  {
    file: 'src/mysql/errors.ts',
    line: `1020: 'SERIALIZATION_FAILURE',`,
    why: 'a row that has changed since the snapshot is a conflict (F26)',
    test: traps(
      'on mariadb-snapshot > F26: a lost update > through the library that is a conflict, and the retry gets through (driver)',
    ),
  },
  {
    file: 'src/mysql/errors.ts',
    line: 'number === undefined || ',
    why: 'an error that the server did not send is no answer: unknown',
    test: adapters('the adapter: mysql2 > a COMMIT whose answer is lost is not tried again'),
  },
  {
    file: 'src/postgres/errors.ts',
    line: 'state === undefined || ',
    why: 'an error that the server did not send is no answer: unknown',
    test: adapters('the adapter: pg > a COMMIT whose answer is lost is not tried again'),
  },
];

const pessimisticLock: readonly Mutant[] = [
  {
    file: 'src/postgres/pessimistic-lock.ts',
    line: `update: { wait: 'FOR UPDATE',`,
    replacement: `update: { wait: '',`,
    why: 'the row is locked while it is looked at',
    test: locks('postgres > pessimistic lock > 50 racers look under the lock one after another: one buys'),
  },
  {
    file: 'src/mysql/pessimistic-lock.ts',
    line: `update: { wait: 'FOR UPDATE',`,
    replacement: `update: { wait: '',`,
    why: 'the row is locked while it is looked at',
    test: locks('mariadb > pessimistic lock > 50 racers look under the lock one after another: one buys'),
  },
  {
    file: 'src/postgres/pessimistic-lock.ts',
    line: `wait: 'FOR SHARE'`,
    replacement: `wait: ''`,
    why: 'a shared row is kept from writers',
    test: locks(
      'postgres > shared lock > while it is shared, a writer waits, and nobody locks it for himself',
    ),
  },
  {
    file: 'src/mysql/pessimistic-lock.ts',
    line: `wait: 'LOCK IN SHARE MODE'`,
    replacement: `wait: ''`,
    why: 'a shared row is kept from writers',
    test: locks(
      'mariadb > shared lock > while it is shared, a writer waits, and nobody locks it for himself',
    ),
  },
  {
    file: 'src/postgres/pessimistic-lock.ts',
    line: 'sql.matches(merge(key, expect))',
    replacement: 'sql.matches(key)',
    why: 'who waited finds the row as it is by then',
    test: locks(
      'postgres > pessimistic lock > a racer that waited finds no row when the holder has changed the status',
    ),
  },
  {
    file: 'src/mysql/pessimistic-lock.ts',
    line: 'sql.matches(merge(key, expect))',
    replacement: 'sql.matches(key)',
    why: 'who waited finds the row as it is by then',
    test: locks(
      'mariadb > pessimistic lock > a racer that waited finds no row when the holder has changed the status',
    ),
  },
  {
    file: 'src/pessimistic-lock.ts',
    line: `if (row === undefined) return refused('wrong-state');`,
    why: 'who found no row has no lock',
    test: locks('postgres > pessimistic lock > with the status in the condition, a loser finds no row'),
  },
  {
    file: 'src/pessimistic-lock.ts',
    line: `await transaction.execute(
    transaction.dialect.conditionalUpdate({ table, key, expect: {}, set: {}, increment }),
  );`,
    why: 'who read the row without a lock finds it changed',
    test: locks(
      'postgres > lock that counts the version up > with it, he finds the row changed, although nothing else is',
    ),
  },
  {
    file: 'src/pessimistic-lock.ts',
    line: `if (error instanceof StoreError && error.code === 'LOCK_TIMEOUT') return refused('lock-timeout');`,
    why: 'a lock that was not granted in time is a refusal',
    test: locks('postgres > the wait for a lock > past a limit of 50 ms it is refused, and holds nothing'),
  },
  {
    file: 'src/lock-wait.ts',
    line: 'await transaction.execute(limitLockWait(waitMs));',
    why: 'nobody waits for a lock for ever',
    test: locks('postgres > the wait for a lock > past a limit of 50 ms it is refused, and holds nothing'),
  },
  {
    file: 'src/lock-wait.ts',
    line: 'await transaction.execute(restoreLockWait);\n  return result;',
    replacement: 'return result;',
    why: 'the next to use the session does not inherit the limit',
    test: locks(
      'mariadb > the wait for a lock > the limit is given back to the session with its transaction',
    ),
  },
  {
    file: 'src/lock-wait.ts',
    line: 'await transaction.execute(restoreLockWait).catch(() => undefined);',
    why: 'nor does it after a time-out',
    test: locks('mariadb > the wait for a lock > it is given back after a time-out'),
  },
  {
    file: 'src/postgres/pessimistic-lock.ts',
    line: '`${waitMs}ms`)}, true)`',
    replacement: '`${waitMs}ms`)}, false)`',
    why: 'the limit ends with its transaction',
    test: locks(
      'postgres > the wait for a lock > the limit is given back to the session with its transaction',
    ),
  },
  {
    file: 'src/mysql/pessimistic-lock.ts',
    line: ', SESSION lock_wait_timeout = ${seconds}`',
    replacement: '`',
    why: 'a lock behind an ALTER TABLE is limited too',
    test: locks(
      'mariadb > the wait for a lock > inside the transaction the limit holds, or the twins below would prove nothing',
    ),
  },
  {
    file: 'src/postgres/pessimistic-lock.ts',
    line: ' FOR UPDATE SKIP LOCKED',
    replacement: ' FOR UPDATE',
    why: 'workers do not wait for each other’s rows',
    test: locks(
      'postgres > available rows > two workers get rows of their own, in order and within the limit, and neither waits',
    ),
  },
  {
    file: 'src/mysql/pessimistic-lock.ts',
    line: ' FOR UPDATE SKIP LOCKED',
    replacement: ' FOR UPDATE',
    why: 'workers do not wait for each other’s rows',
    test: locks(
      'mariadb > available rows > two workers get rows of their own, in order and within the limit, and neither waits',
    ),
  },
  {
    file: 'src/postgres/pessimistic-lock.ts',
    line: 'LIMIT ${limit} FOR UPDATE SKIP LOCKED',
    replacement: 'LIMIT ${limit}',
    why: 'a row belongs to one worker',
    test: locks('postgres > available rows > what is locked stays locked until the transaction ends'),
  },
  {
    file: 'src/mysql/pessimistic-lock.ts',
    line: 'LIMIT ${limit} FOR UPDATE SKIP LOCKED',
    replacement: 'LIMIT ${limit}',
    why: 'a row belongs to one worker',
    test: locks('mariadb > available rows > what is locked stays locked until the transaction ends'),
  },
];

/** The guards over rows that are the caller's own, and the transactions that they run in. */
export const rowGuardMutants: readonly Mutant[] = [
  ...values,
  ...conditionalUpdate,
  ...uniqueClaim,
  ...optimisticLock,
  ...transactions,
  ...pessimisticLock,
];
