import { describe, expect, test } from 'vitest';
import { lockHistory } from '../../src/locks/lock-history.ts';
import { beginningOf, endOf, summaryOf } from '../../src/locks/lock-text.ts';
import type { LockHolder, LockWait } from '../../src/locks/lock-wait.ts';
import { inOneLine, withoutValues } from '../../src/locks/statement-text.ts';

const holder: LockHolder = {
  session: '1',
  application: undefined,
  statement: undefined,
  lastStatement: undefined,
  idleInTransaction: true,
  certain: true,
};

/** A wait of session 2 that began with its statement. */
function wait(waitedMs: number, change: Partial<LockWait> = {}, session = '2'): LockWait {
  return {
    kind: 'row',
    waiter: { session, application: undefined, statement: 'SELECT 1 FOR UPDATE', statementMs: waitedMs },
    holders: [holder],
    table: 'publish',
    index: 'PRIMARY',
    record: '7',
    mode: 'X',
    lockType: 'RECORD',
    waitedMs,
    ...change,
  };
}

describe('the history of waits', () => {
  test('a wait that several samples see is one, and it lasted until the last of them', () => {
    const history = lockHistory();
    expect(history.add([wait(10)], 100).begun).toHaveLength(1);
    expect(history.add([wait(60)], 150)).toEqual({ begun: [], ended: [] });
    const { ended } = history.add([], 200);
    expect(ended).toMatchObject([{ lastedMs: 60, wait: { record: '7' } }]);
    expect(history.all()).toHaveLength(1);
    expect(history).toMatchObject({ samples: 3, mostAtOnce: 1 });
  });

  test('it is the same wait when the queue moves up and somebody else is in the way', () => {
    const history = lockHistory();
    history.add([wait(10, { lockType: 'tuple' })], 100);
    // On PostgreSQL the head of the queue waits anew, for the transaction that holds the row.
    const head = wait(5, { lockType: 'transactionid', holders: [{ ...holder, session: '9' }] });
    const { begun } = history.add([{ ...head, waiter: { ...head.waiter, statementMs: 60 } }], 150);
    expect(begun).toEqual([]);
    expect(history.all()).toMatchObject([{ lastedMs: 60 }]);
  });

  test('the next statement of the same session is another wait, though it reads the same', () => {
    const history = lockHistory();
    history.add([wait(90)], 100);
    const { begun, ended } = history.add([wait(20)], 150);
    expect(begun).toHaveLength(1);
    expect(ended).toHaveLength(1);
    expect(history.all()).toMatchObject([{ lastedMs: 90 }, { lastedMs: 20 }]);
  });

  test('what is kept of a wait is when its holder was idle, which is what takes long', () => {
    const history = lockHistory();
    const busy = { ...holder, idleInTransaction: false, statement: 'COMMIT' };
    history.add([wait(10, { holders: [busy] })], 100);
    history.add([wait(60)], 150);
    history.add([wait(110, { holders: [busy] })], 200);
    expect(history.all()).toMatchObject([{ lastedMs: 110, wait: { waitedMs: 60, holders: [holder] } }]);
  });

  test('a small difference between two clocks makes no new wait', () => {
    const history = lockHistory();
    history.add([wait(0)], 100);
    expect(history.add([wait(48)], 150).begun).toEqual([]);
    expect(history.all()).toHaveLength(1);
  });

  test('those who wait at once are counted, and the longest comes first', () => {
    const history = lockHistory();
    history.add([wait(10), wait(40, {}, '3'), wait(20, {}, '4')], 100);
    expect(history.mostAtOnce).toBe(3);
    expect(history.all().map((seen) => seen.wait.waiter.session)).toEqual(['3', '4', '2']);
  });

  test.each([
    ['a length that is no number', wait(Number.NaN)],
    ['a negative length', wait(-5)],
    ['an endless length', wait(Number.POSITIVE_INFINITY)],
  ])('%s counts as none', (_name, bad) => {
    const history = lockHistory();
    history.add([bad], 100);
    expect(history.all()).toMatchObject([{ lastedMs: 0 }]);
  });

  test('a session that is listed twice in one sample waits once', () => {
    const history = lockHistory();
    expect(history.add([wait(10), wait(10, { record: '8' })], 100).begun).toHaveLength(1);
    expect(history.mostAtOnce).toBe(1);
  });

  test('a sample that comes before the last one makes no wait shorter', () => {
    const history = lockHistory();
    history.add([wait(50)], 100);
    history.add([wait(20)], 70);
    expect(history.all()[0]?.lastedMs).toBe(50);
  });

  test('nothing that waits is nothing seen', () => {
    const history = lockHistory();
    history.add([], 1);
    expect(history).toMatchObject({ samples: 1, mostAtOnce: 0 });
    expect(history.all()).toEqual([]);
    expect(summaryOf(history)).toEqual(['Nobody was seen waiting for a lock in 1 looks.']);
  });
});

describe('as text', () => {
  test('a wait says who, for what lock, with which statement, and who is in the way', () => {
    expect(beginningOf(wait(10))).toEqual([
      'session 2 waits for row lock X (RECORD) on publish, index PRIMARY, record 7',
      '  its statement: SELECT 1 FOR UPDATE',
      '  blocked by session 1: idle in transaction',
    ]);
    expect(endOf({ wait: wait(10), lastedMs: 61.4 })).toBe(
      'session 2 has waited 61 ms for row lock X (RECORD) on publish, index PRIMARY, record 7',
    );
  });

  test('what the database does not tell is said not to be told', () => {
    const bare = { kind: 'metadata', lockType: 'table metadata lock' } as const;
    const unknown = { table: undefined, index: undefined, record: undefined, mode: undefined };
    expect(beginningOf(wait(10, { ...bare, ...unknown, holders: [] }))).toEqual([
      'session 2 waits for metadata lock (table metadata lock)',
      '  its statement: SELECT 1 FOR UPDATE',
      '  who is in its way is not told',
    ]);
    const suspect = { ...holder, certain: false, idleInTransaction: false };
    expect(beginningOf(wait(10, { holders: [suspect] }))[2]).toBe('  perhaps blocked by session 1: not told');
  });

  test('an idle holder is shown with what it did last, a queue is cut, an equal statement is not repeated', () => {
    const last = { ...holder, lastStatement: 'UPDATE\n  publish', application: 'lotto-back-1' };
    const queued = { ...holder, idleInTransaction: false, statement: 'SELECT 1 FOR UPDATE' };
    expect(beginningOf(wait(1, { holders: [last, queued, queued, queued, queued] })).slice(2)).toEqual([
      '  blocked by session 1 (lotto-back-1): idle in transaction, after: UPDATE publish',
      '  blocked by session 1: the same statement',
      '  blocked by session 1: the same statement',
      '  and 2 more before it',
    ]);
  });

  test('the summary counts by what was waited for', () => {
    const history = lockHistory();
    history.add([wait(10), wait(30, { lockType: 'x' }, '3'), wait(20, { index: 'status' }, '4')], 100);
    expect(summaryOf(history)).toEqual([
      '3 waits seen in 1 looks, at most 3 at once, the longest 30 ms:',
      '  2 × row lock X on publish, index PRIMARY, the longest 30 ms',
      '  1 × row lock X on publish, index status, the longest 20 ms',
    ]);
  });

  test.each([
    [`SELECT * FROM t WHERE k = 'it''s' AND n = -1.5e3`, 'SELECT * FROM t WHERE k = ? AND n = -?'],
    [`UPDATE t2 SET a1 = 7 WHERE k = 'a\\'b'`, 'UPDATE t2 SET a1 = ? WHERE k = ?'],
    ['SELECT "c1", `d2` FROM t WHERE id = $1', 'SELECT "c1", `d2` FROM t WHERE id = $1'],
    [`INSERT INTO t VALUES ('cut off in the mid`, 'INSERT INTO t VALUES (?'],
    ['', ''],
  ])('%s without its values is %s', (statement, shape) => {
    expect(withoutValues(statement)).toBe(shape);
  });

  test('a long statement is cut', () => {
    expect(inOneLine(' SELECT\n\t1 ', 20)).toBe('SELECT 1');
    expect(inOneLine('SELECT 12345', 8)).toBe('SELECT …');
  });
});
