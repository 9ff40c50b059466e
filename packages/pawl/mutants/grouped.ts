// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are lines of code.
import type { Mutant, NamedTest } from './mutant.ts';

const store = (on: string, name: string): NamedTest => ({
  file: 'test/grouped-idempotency-store.test.ts',
  name: `callers share transactions on ${on} > ${name}`,
});
const updates = (on: string, name: string): NamedTest => ({
  file: 'test/grouped-requests.test.ts',
  name: `on ${on} > conditional updates in batches > ${name}`,
});
const claims = (on: string, name: string): NamedTest => ({
  file: 'test/grouped-requests.test.ts',
  name: `on ${on} > unique claims in batches > ${name}`,
});

const SEVERAL = 'one key several times in a batch is several requests: one has it, the others are told';
const CHANGES = 'of two completions, a renewal and a release of one record in a batch one ends it';
const COMPLETING = 'a record that somebody is completing holds up its own changes, and nobody else’s';
const INSERTING = 'a key that somebody is inserting holds up its own claims, and nobody else’s: COMMIT';
const LOST_CLAIM =
  'the answer to a claim is lost: its effect is unknown to each, and nobody is told that it is another’s';
const LONG = 'an answer that is too long to be read for many is given as it is';
const HELD_ROW = 'a row that somebody else has is waited for apart, and compared then';

const recordStore: readonly Mutant[] = [
  {
    file: 'src/grouped-idempotency-store.ts',
    line: "if (claim.mode !== 'leased') return alone.claim(claim);",
    why: 'claims in the other mode are not of the group',
    test: store('postgres', 'claims in the other mode are not of the group'),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'if (isLong(row)) return alone.claim(claim);',
    why: 'an answer that was left out is read',
    test: store('postgres', LONG),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'isLong(row) ? alone.read(id) : recordFromRow(row)',
    replacement: 'recordFromRow(row)',
    why: 'an answer that was left out is read',
    test: store('mariadb', LONG),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'if (isFree(row, record, claim)) return alone.claim(claim);',
    why: 'what is abandoned is taken over',
    test: {
      file: 'test/idempotency-model.test.ts',
      name: 'postgres in groups does what is specified, step by step > any order of claims, renewals, completions, releases, and ends of leases',
    },
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'row === undefined || isExpired(row)',
    replacement: 'row === undefined',
    why: 'a record whose retention is over is not read',
    test: {
      file: 'test/idempotency-model.test.ts',
      name: 'mariadb in groups does what is specified, step by step > any order of claims, renewals, completions, releases, and ends of leases',
    },
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: `done(won.delete(item) ? 'claimed' : (rows[index] ?? 'late'))`,
    replacement: `done(rows[index] ?? 'claimed')`,
    why: 'of several claims of one key in a batch one alone has it',
    test: store('postgres', SEVERAL),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'freshness -= freshness * RECENT;',
    why: 'where many are replays they look first',
    test: store('postgres', 'a replay waits for no lock, and looks first where many are replays'),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: "if (one === undefined) return done('again' as const);",
    replacement: "if (one === undefined) return done('changed' as const);",
    why: 'of several changes of one record in a batch the first alone is made at once',
    test: store('mariadb', CHANGES),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'made.delete(item);\n            return told(one);',
    replacement: 'return told(results[items.indexOf(item)]);',
    why: 'each change is told what became of it, and not what became of its neighbour',
    test: store(
      'postgres',
      'of two completions of one record, and what comes with them, each is told of its own',
    ),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'writes: [find(table, ids)],',
    replacement: 'writes: [find(table, items)],',
    why: 'an answer may be long, and many may ask for it',
    test: store('postgres', 'a record that many ask for is read once for all of them'),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'if (answer.body.byteLength > LARGE_BODY)',
    replacement: 'if (answer.body.byteLength > Infinity)',
    why: 'an answer that a server would take alone is stored',
    test: store(
      'mariadb',
      'an answer that does not fit into a statement as digits is stored as it would be alone',
    ),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: "return one === 'held' ? HELD : done(one);",
    replacement: "return done(one === 'held' ? 'fenced' : one);",
    why: 'a record that somebody has is waited for',
    test: store('postgres', 'a record whose holder rolls back is renewed then'),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: "throw new StoreError(cause.code, 'none', cause.message, { cause });",
    replacement: 'throw cause;',
    why: 'a look has no effect',
    test: store('postgres', 'a look whose answer is lost has no effect'),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'throw cause instanceof StoreError\n    ? cause\n    : new',
    replacement: "throw cause instanceof StoreError\n    ? new StoreError(cause.code, 'none', '')\n    : new",
    why: 'a claim whose answer is lost is unknown',
    test: store('mariadb', LOST_CLAIM),
  },
  {
    file: 'src/postgres/idempotency-batch.ts',
    line: 'rows[Number(row.item)] = row;',
    replacement: 'rows[rows.indexOf(undefined)] = row;',
    why: 'a record that is found is told to who asked for it',
    test: store('postgres', 'of many who read at the same time each is told of his own record'),
  },
  {
    file: 'src/postgres/listed.ts',
    line: ' && !Number.isNaN(value.getTime())',
    why: 'a moment that is none is refused before anything is sent',
    test: {
      file: 'test/batch-statements.test.ts',
      name: 'statements about many rows on postgres > moments of every year are stored as the driver stores them',
    },
  },
  {
    file: 'src/postgres/listed.ts',
    line: `isHyphen(index) ? text[index] === '-' : digitAt(text, index) < 16`,
    replacement: 'digitAt(text, index) <= 16',
    why: 'what is no UUID is not stored as one',
    test: {
      file: 'test/batch-statements.test.ts',
      name: 'statements about many rows on postgres > a UUID is stored alone and with others, and what is none never is',
    },
  },
  {
    file: 'src/postgres/idempotency-batch.ts',
    line: 'ON CONFLICT DO NOTHING',
    why: 'who comes second is no failure of the others',
    test: store('postgres', 'of claims that come together each is told what he would have been told alone'),
  },
  {
    file: 'src/postgres/idempotency-batch.ts',
    line: "const limit = how === 'waiting' ? '' : ` WHERE ${MOMENT}`;",
    replacement: "const limit = '';",
    why: 'a batch waits but for a moment for an insertion of somebody else',
    test: store('postgres', INSERTING),
  },
  {
    file: 'src/postgres/idempotency-batch.ts',
    line: "locked(table, 'FOR UPDATE SKIP LOCKED')",
    replacement: "locked(table, 'FOR UPDATE')",
    why: 'a record that somebody has holds up nobody else',
    test: store('postgres', COMPLETING),
  },
  {
    file: 'src/postgres/idempotency-batch.ts',
    line: 'return claims.map(({ scope, key }) => inserted.has(recordKey(scope, key)));',
    replacement: 'return claims.map(() => true);',
    why: 'who comes second is told so',
    test: store('postgres', 'instances that claim the same keys at the same time share them out'),
  },
  {
    file: 'src/postgres/idempotency-batch.ts',
    line: 'own.owner = given.owner AND own.status IS NULL AND own.expires_at > ${NOW}\n    RETURNING',
    replacement: 'own.status IS NULL AND own.expires_at > ${NOW}\n    RETURNING',
    why: 'only its owner changes a record',
    test: store('postgres', CHANGES),
  },
  {
    file: 'src/mysql/idempotency-batch.ts',
    line: "${wait ? '' : ' SKIP LOCKED'}",
    why: 'a record that somebody has holds up nobody else',
    test: store('mariadb', COMPLETING),
  },
  {
    file: 'src/mysql/idempotency-batch.ts',
    line: 'ours.get(keyOf(change)) === change.owner',
    replacement: 'ours.has(keyOf(change))',
    why: 'only its owner changes a record',
    test: store('mariadb', CHANGES),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'return wait || !mustLimit ? [look] : [dialect.limitLockWait(MOMENT_MS), look];',
    replacement: 'return [look];',
    why: 'a batch waits but for a moment for an insertion of somebody else',
    test: store('mariadb', INSERTING),
  },
  {
    file: 'src/mysql/idempotency-batch.ts',
    line: 'export const insertsWaitForLocks = true;',
    replacement: 'export const insertsWaitForLocks = false;',
    why: 'what is there is found before it would be waited for',
    test: store('mariadb', INSERTING),
  },
  {
    file: 'src/mysql/idempotency-batch.ts',
    line: "return present.get(keyOf(change)) === change.owner ? 'held' : 'fenced';",
    replacement: "return 'fenced';",
    why: 'a record that somebody has is waited for',
    test: store('mariadb', 'a record whose holder rolls back is renewed then'),
  },
];

const FOR_GROUPS = 'mariadb in a pool for groups';
const GONE = 'a record that is gone is completed for nobody, and those that come with it are';

const inOneMessage: readonly Mutant[] = [
  {
    file: 'src/grouped-idempotency-store.ts',
    line: "completed === items.length ? 'changed' : 'perhaps'",
    replacement: "'changed'",
    why: 'a record that is not there is completed for nobody',
    test: store(FOR_GROUPS, GONE),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'return record?.owner === owner && record.answer !== undefined;',
    replacement: 'return false;',
    why: 'who comes with a record that is not there is told what became of his own',
    test: store(FOR_GROUPS, GONE),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: "new StoreError(error.code, 'unknown', error.message, { cause: error })",
    replacement: 'error',
    why: 'a completion was sent before the look that has failed',
    test: store(
      FOR_GROUPS,
      'whoever cannot look at the record, one of those with him being gone, is told that he does not know',
    ),
  },
  {
    file: 'src/grouped-idempotency-store.ts',
    line: 'items.every(isCompletion) && firsts(items) === items',
    replacement: 'items.every(isCompletion)',
    why: 'of several completions of one record one is made',
    test: store(FOR_GROUPS, 'of two completions of one record, and nothing else, one ends it'),
  },
  {
    file: 'src/mysql/idempotency-batch.ts',
    line: '1, 0 * (attempt + 18446744073709551615))',
    replacement: '1, 1)',
    why: 'only a record in progress is completed, and by its owner',
    test: store(FOR_GROUPS, 'of completions that come together each is told what became of his record'),
  },
  {
    file: 'src/mysql/idempotency-batch.ts',
    line: 'const isOfOneScope = those.every((one) => one.scope === scope);',
    replacement: 'const isOfOneScope = scope !== undefined;',
    why: 'the same key in another scope is another key',
    test: store(FOR_GROUPS, 'records of several scopes, with other owners each, are completed together'),
  },
];

const requests: readonly Mutant[] = [
  {
    file: 'src/grouped-updates.ts',
    line: 'found?.rows.length ? HELD : done(false)',
    replacement: 'done(false)',
    why: 'a row that somebody has is waited for',
    test: updates('postgres', HELD_ROW),
  },
  {
    file: 'src/grouped-updates.ts',
    line: '(wait ? waitForLock : lock)',
    replacement: 'waitForLock',
    why: 'a row that somebody has holds up nobody else',
    test: updates('mariadb', HELD_ROW),
  },
  {
    file: 'src/grouped-updates.ts',
    line: 'requireUpdate(update);',
    why: 'an update that changes nothing lets everybody through',
    test: updates(
      'postgres',
      'a row that is not there is in no state, and one that the database refuses spoils nobody else’s',
    ),
  },
  {
    file: 'src/grouped-requests.ts',
    line: 'next += writes.length;',
    why: 'each is told of his own statements',
    test: updates('postgres', 'of 30 that take each of two seats one is done, in one transaction'),
  },
  {
    file: 'src/grouped-claims.ts',
    line: "if (seen.has(name)) return { writes: [], outcome: () => done('again') };",
    why: 'of several claims of one key in a batch the first has it, and they spoil no batch',
    test: claims('mariadb', 'of 20 that claim each of three keys one is done, and the others are told who'),
  },
  {
    file: 'src/grouped-claims.ts',
    line: "inserted?.affectedRows === 1 ? 'claimed' : 'refused'",
    replacement: "'claimed'",
    why: 'who comes second is told so',
    test: claims(
      'postgres',
      'another unique column refuses one claim, and a value that does not fit another, and nobody else’s',
    ),
  },
  {
    file: 'src/grouped-claims.ts',
    line: "error.code === 'DUPLICATE_KEY'",
    replacement: 'false',
    why: 'a claim that another unique column refuses is no failure',
    test: claims(
      'mariadb',
      'another unique column refuses one claim, and a value that does not fit another, and nobody else’s',
    ),
  },
  {
    file: 'src/grouped-claims.ts',
    line: '(wait ? [] : [dialect.limitLockWait(MOMENT_MS)])',
    replacement: '[]',
    why: 'a claim that somebody is making holds up nobody else',
    test: claims(
      'postgres',
      'a claim that somebody is making holds up its own key, and nobody else’s: COMMIT',
    ),
  },
  {
    file: 'src/grouped-claims.ts',
    line: 'found.leaseIsOver ? claimUnique(sql, claim) : held(found.row)',
    replacement: 'held(found.row)',
    why: 'a claim whose lease is over is taken over',
    test: claims(
      'mariadb',
      'a claim whose lease is over is taken over once, and one whose lease lives is not',
    ),
  },
];

export const groupedMutants: readonly Mutant[] = [...recordStore, ...inOneMessage, ...requests];
