import type { Mutant, NamedTest } from './mutant.ts';

const groups = (name: string): NamedTest => ({ file: 'test/group-commit.test.ts', name });
const stocks = (name: string): NamedTest => ({
  file: 'test/stock.test.ts',
  name: `a stock on postgres > ${name}`,
});
const ports = (name: string): NamedTest => ({
  file: 'test/read-then-write.test.ts',
  name: `reading, then writing: ${name}`,
});

const statements = (name: string): NamedTest => ({
  file: 'test/batch-statements.test.ts',
  name: `statements about many rows on ${name}`,
});

const commit: readonly Mutant[] = [
  {
    file: 'src/adapters/pg.ts',
    line: "return status === null || (status === 'I'",
    replacement: "return !tellsTransactions(client) || (status === 'I'",
    why: 'a client that pipelines tells of a transaction that somebody has left open, too',
    test: {
      file: 'test/pg-exchange.test.ts',
      name: 'in a connection that was given back in the middle of a transaction nothing is told to be committed: 1 statements, pipelined: true',
    },
  },
  {
    file: 'src/adapters/pg.ts',
    line: 'if (!begun && isWhole) {',
    replacement: 'if (!begun) {',
    why: 'where each statement is sent by itself, each would be a transaction',
    test: {
      file: 'test/pg-exchange.test.ts',
      name: 'over a client that pipelines, each statement is sent by itself, and comes to the same (for groups: false)',
    },
  },
  {
    file: 'src/adapters/pg.ts',
    line: "written[0]?.rows[0]?.level === 'read committed'",
    replacement: 'true',
    why: 'a transaction is READ COMMITTED, whatever the session’s default is',
    test: {
      file: 'test/pg-exchange.test.ts',
      name: 'several statements that nothing is read for are READ COMMITTED, where the session’s default is serializable',
    },
  },
  {
    file: 'src/adapters/pg.ts',
    line: `requireAlone(client);
      return`,
    replacement: 'return',
    why: 'what is in a transaction that somebody has left open is not committed',
    test: {
      file: 'test/pg-exchange.test.ts',
      name: 'a transaction that somebody has left open (for groups: false) > or begins when its connection has been found idle: whether a message is committed is unknown',
    },
  },
  {
    file: 'src/group-commit.ts',
    line: 'outcomesFrom(outcomes, restores ? written.slice(0, -1) : written, items.length)',
    replacement: 'outcomesFrom(outcomes, written, items.length)',
    why: 'the work is given the results of its own writes',
    test: {
      file: 'test/durable-call-groups.test.ts',
      name: 'postgres, optimistic: false > those who waited for a row are told apart: one claims, one replays, and one finds it taken',
    },
  },
  {
    file: 'src/group-commit.ts',
    line: `if (isCode(error, 'DUPLICATE_KEY') && !foundKeys) {`,
    replacement: `if (isCode(error, 'DUPLICATE_KEY') && attempt === 1) {`,
    why: 'a key is looked for again, whatever came before',
    test: groups('a batch > whose key is there after all is decided again, also after a conflict'),
  },
  {
    file: 'src/group-commit.ts',
    line: 'if (!(outcomes instanceof Broken) && !outcomes.includes(HELD)) return settle;',
    replacement: '',
    why: 'callers go on while the next batch is on its way',
    test: groups(
      'a batch > leaves a part of those that wait where it is to, and what it came to is told while the next is in flight',
    ),
  },
  {
    file: 'src/group-commit.ts',
    line: `if (this.#waiting >= this.#settings.maxWaiting) return Promise.resolve(refused('overloaded'));`,
    why: 'memory is bounded',
    test: groups('a batch > whoever finds too many waiting is refused, and those who wait are not'),
  },
  {
    file: 'src/group-commit.ts',
    line: `if (error instanceof StoreError && error.effect === 'unknown') {`,
    replacement: 'if (false) {',
    why: 'what may have been committed is unknown to each',
    test: stocks('a COMMIT whose answer-lost is unknown to each, until it is read'),
  },
  {
    file: 'src/group-commit.ts',
    line: 'if (isNobodys || batch.length === 1) {',
    replacement: 'if (true) {',
    why: 'one who spoils a batch spoils nobody else’s',
    test: stocks('a request that the database refuses spoils nobody else’s'),
  },
  {
    file: 'src/group-commit.ts',
    line: 'const isNobodys = isNobodysFault(error) || split',
    replacement: 'const isNobodys = split',
    why: 'a server that is gone is not asked once for each',
    test: groups('a batch > that cannot be sent is not split: nobody can be told more of it one by one'),
  },
  {
    file: 'src/group-commit.ts',
    line: `if (!(error instanceof StoreError) || error.effect === 'unknown' || isNobodysFault(error)) throw error;`,
    replacement: 'if (!(error instanceof StoreError)) throw error;',
    why: 'what may have been committed is not done again',
    test: groups(
      'a batch > that may be as it usually is > is unknown where nobody knows whether it was committed, and not done again',
    ),
  },
  {
    file: 'src/group-commit.ts',
    line: 'this.#pessimistic = { left: next, next: Math.min(2 * next, MOST_PESSIMISTIC) };',
    why: 'what never is as it usually is costs little',
    test: groups(
      'a batch > that may be as it usually is > is tried less and less where it never is, and always where it is again',
    ),
  },
  {
    file: 'src/group-commit.ts',
    line: 'const isFirst = attempt === 1 && split === undefined;',
    replacement: 'const isFirst = true;',
    why: 'whoever spoils a batch is found by reading',
    test: groups(
      'a batch > that may be as it usually is > is not tried for what is split, nor for those who wait for a row',
    ),
  },
  {
    file: 'src/postgres/change-rows.ts',
    line: 'for (const [name, value] of Object.entries(expect)) {',
    replacement: 'for (const [name, value] of [] as [string, null][]) {',
    why: 'a row is changed as it is expected, or not at all',
    test: statements('postgres > change rows that are as they are expected, or none > one is not'),
  },
  {
    file: 'src/postgres/change-rows.ts',
    line: `AND \${MOMENT}\`;`,
    replacement: '`;',
    why: 'the rows of others are waited for for a moment, and no longer',
    test: statements(
      'postgres > change rows that are as they are expected, or none > and do not wait for long for one that is another’s',
    ),
  },
  {
    file: 'src/mysql/change-rows.ts',
    line: `SUM(\${sql.matches(expect)})`,
    replacement: 'COUNT(*)',
    why: 'a row is changed as it is expected, or not at all',
    test: statements('mariadb > change rows that are as they are expected, or none > one is not'),
  },
  {
    file: 'src/mysql/change-rows.ts',
    line: 'FOR UPDATE SKIP LOCKED`,',
    replacement: 'FOR UPDATE`,',
    why: 'the rows of others are not waited for',
    test: statements(
      'mariadb > change rows that are as they are expected, or none > and do not wait for long for one that is another’s',
    ),
  },
  {
    file: 'src/group-commit.ts',
    line: 'if (settled.length === items) return settled;',
    replacement: 'return settled;',
    why: 'what is committed is not told to the wrong one',
    test: groups(
      'a batch > whose work cannot say what it came to, once it is committed, is unknown and not done again',
    ),
  },
  {
    file: 'src/group-commit.ts',
    line: 'if (outcome === HELD) held.push(entry);',
    replacement: `if (outcome === HELD) entry.resolve(refused('lock-timeout'));`,
    why: 'a row that somebody else has is waited for',
    test: stocks('a stock that somebody else has holds up nobody but those who ask for it'),
  },
  {
    file: 'src/held-rows.ts',
    line: 'if (requests.some((request) => tried.has(request))) await sleep(HELD_PAUSE_MS);',
    replacement: 'if (requests.length < 0) await nextTurn();',
    why: 'who waits asks with pauses',
    test: groups(
      'a row that somebody else has > that stays another’s is waited for as long as it may be, with pauses',
    ),
  },
  {
    file: 'src/held-rows.ts',
    line: 'const waits = !line.isUnsure;',
    replacement: 'const waits = true;',
    why: 'who is in nobody’s way is not behind those who wait',
    test: groups(
      'a batch > that waits for several insertions of somebody else has those who are in nobody’s way before them',
    ),
  },
  {
    file: 'src/adapters/pg-exchange.ts',
    line: "if (sent !== '') this.#prepared.set(sent, null);",
    replacement: '{}',
    why: 'a column that has got another type does not refuse its values for ever',
    test: {
      file: 'test/read-then-write.test.ts',
      name: 'a statement whose column has got another type fails once at most (PostgreSQL)',
    },
  },
  {
    file: 'src/group-commit.ts',
    line: `if (isCode(error, 'LOCK_TIMEOUT')) return this.#hold(batch, !wait && batch.length > 1);`,
    why: 'somebody’s insertion that is not over holds up nobody but who inserts the same',
    test: groups(
      'a batch > that waits for an insertion of somebody else is taken apart, and holds up nobody who comes later',
    ),
  },
  {
    file: 'src/held-rows.ts',
    line: 'else if (isNew && line !== undefined && line.length >= longestLine)',
    replacement: 'else if (false)',
    why: 'those of a batch who ask for one row do not fill the queue of all',
    test: groups(
      'a row that somebody else has > and for which many come in the transaction that finds it held, keeps no more of them',
    ),
  },
  {
    file: 'src/held-rows.ts',
    line: `if (line.length >= this.#options.longestLine) return 'full';`,
    why: 'those who ask for one row do not fill the queue of all',
    test: groups(
      'a row that somebody else has > keeps no more waiting than a part of all that may, so that others are not refused for its sake',
    ),
  },
];

const stock: readonly Mutant[] = [
  {
    file: 'src/stock.ts',
    line: `for (const key of [request.stock, request.claimant]) if (typeof key === 'string') wellFormed(key);`,
    why: 'those whose keys cannot be stored spoil no batch of others',
    test: stocks('keys with half of a character are refused before they join others, however many there are'),
  },
  {
    file: 'src/stock.ts',
    line: 'stock.claims.set(claimant, insert);',
    why: 'the same claimant twice in a batch has one',
    test: stocks('those who have one take up no place of the last one that is left'),
  },
  {
    file: 'src/stock.ts',
    line: 'stock.row = { ...row, ...set };',
    why: 'each request of a batch sees what those before it have taken',
    test: stocks('those who have one take up no place of the last one that is left'),
  },
  {
    file: 'src/stock.ts',
    line: `present === undefined || clocks.has(key) ? HELD : refused('wrong-state')`,
    replacement: `refused('wrong-state')`,
    why: 'a stock that somebody else has is there',
    test: stocks('a stock that somebody else has holds up nobody but those who ask for it'),
  },
];

const adapters: readonly Mutant[] = [
  {
    file: 'src/adapters/mysql-literals.ts',
    line: 'return value < 0 ? ',
    replacement: 'return value > Infinity ? ',
    why: 'two minus signs may begin a comment',
    test: {
      file: 'test/read-then-write.test.ts',
      name: 'values written into a statement > below zero a number is in parentheses: two minus signs in a row may begin a comment',
    },
  },
  {
    file: 'src/adapters/pg-exchange.ts',
    line: `if (this.#prepared.get(name) === null) message.close({ type: 'S', name });`,
    why: 'what the server may have prepared in a message that failed is prepared anew',
    test: {
      file: 'test/pg-exchange.test.ts',
      name: 'statements that are prepared > are prepared once in a session, also twice in a message, and again where that failed',
    },
  },
  {
    file: 'src/adapters/mysql-literals.ts',
    line: "isNumeric ? '_binary ' : ''",
    replacement: "''",
    why: 'bytes beside a number are what they spell',
    test: {
      file: 'test/read-then-write.test.ts',
      name: 'bytes beside a number are what they spell, as where they are a parameter (MariaDB)',
    },
  },
  {
    file: 'src/adapters/mysql-literals.ts',
    line: 'Buffer.isBuffer(attached(value))',
    replacement: 'Buffer.isBuffer(value)',
    why: 'bytes that are gone are not written as none',
    test: {
      file: 'test/read-then-write.test.ts',
      name: 'values written into a statement > bytes that are gone: nothing is sent',
    },
  },
  {
    file: 'src/adapters/mysql-literals.ts',
    line: 'const PLAIN = /^[A-Za-z0-9 .,:_/+=-]*$/;',
    replacement: 'const PLAIN = /^/;',
    why: 'nothing stands in quotes that could end them',
    test: ports('mariadb, together > values come back as they were given'),
  },
  {
    file: 'src/adapters/mysql2-session.ts',
    line: 'for (const text of first) this.#transaction.succeeded(text);',
    why: 'of statements that fail together, those that leave something behind may have succeeded',
    test: {
      file: 'test/read-then-write.test.ts',
      name: 'a transaction that could not be rolled back is not committed by the next one on its connection (MariaDB)',
    },
  },
];

export const groupCommitMutants: readonly Mutant[] = [...commit, ...stock, ...adapters];
