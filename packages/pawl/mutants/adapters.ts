import type { Mutant, NamedTest } from './mutant.ts';

const adapters = (name: string): NamedTest => ({ file: 'test/adapters.test.ts', name });
const redisAdapters = (name: string): NamedTest => ({ file: 'test/redis-adapters.test.ts', name });

const exchanged = (name: string): NamedTest => ({ file: 'test/pg-exchange.test.ts', name });

const shared: readonly Mutant[] = [
  {
    file: 'src/adapters/never-committed.ts',
    line: `error instanceof StoreError && error.effect === 'unknown'`,
    replacement: 'false',
    why: 'what was lost before the COMMIT had no effect',
    test: adapters('the adapter: pg > lost under a statement of a transaction, it had no effect'),
  },
  {
    file: 'src/adapters/transaction-handle.ts',
    line: 'if (over) throw transactionIsOver();',
    why: 'a branch that outlives its transaction writes into nobody else’s',
    test: adapters(
      'the adapter: pg > a branch of the work that outlives its transaction reaches nobody else’s',
    ),
  },
];

const pg: readonly Mutant[] = [
  {
    file: 'src/adapters/pg.ts',
    line: '? [BY_INDEX] : []',
    replacement: '? [] : []',
    why: 'a plan of when its table was small does not read all of it when it is large',
    test: {
      file: 'test/flat-cost.test.ts',
      name: 'on postgres > a stock > planned for tables of 0 rows, a batch reads few of many',
    },
  },
  {
    file: 'src/adapters/pg.ts',
    line: `'SET enable_seqscan = off; SET`,
    replacement: `'SET`,
    why: 'a pool for groups finds rows by an index, as any other does for them',
    test: {
      file: 'test/flat-cost.test.ts',
      name: 'on postgres > idempotency keys > planned for tables of 50 rows, a batch reads few of many',
    },
  },
  {
    file: 'src/adapters/pg.ts',
    line: `'enable_seqscan', 'off', true)`,
    replacement: `'enable_seqscan', 'off', false)`,
    why: 'what others do in a session is planned as they want it',
    test: exchanged(
      'rows are found by an index, whatever was planned > in each transaction of a group, and in no other of its session',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: 'if (tellsTransactions(client)) isReadCommitted.set(session',
    replacement: 'isReadCommitted.set(session',
    why: 'where each statement is sent by itself, several need a BEGIN',
    test: exchanged(
      'over a client that pipelines, each statement is sent by itself, and comes to the same (for groups: true)',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `// Within a transaction it would end with that.
    await neverCommitted(() => requireIdle(client));`,
    why: 'what is told to a session within a transaction ends with that',
    test: exchanged(
      'rows are found by an index, whatever was planned > a connection that could not be told so is lent to nobody, and nothing was done on it (in a transaction that begins meanwhile)',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `await neverCommitted(() => requireIdle(client));
  } catch (error) {
    client.release(true);
    throw error;
  }
  return client;`,
    replacement: '} catch (error) {\n    client.release(true);\n    throw error;\n  }\n  return client;',
    why: 'what somebody has left open is not committed with what is ours',
    test: exchanged(
      'a transaction that somebody has left open (for groups: false) > is not committed by what is read for, which is told so, and not done',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `// Over a \`pg-native\` that cannot be asked.
    return null;`,
    replacement: "return '?';",
    why: 'a client that cannot be asked is one that does not tell',
    test: exchanged(
      'a client that throws where it is asked whether a transaction is open is one that does not tell',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: ' && readyForQuery !== false',
    why: 'what somebody has begun is not committed with what is ours, also where the server has yet to say that it is begun',
    test: exchanged(
      'a transaction that somebody has left open (for groups: false) > or is about to begin: a transaction is not done',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `await query(client, '');`,
    why: 'a COMMIT that nobody waited for is not cut off',
    test: exchanged(
      'a transaction that somebody has left open (for groups: false) > pipelined: false > or that is about to be committed is, and so is a transaction after it',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: 'requireAlone(client);\n        return',
    replacement: 'return',
    why: 'what is in a transaction that somebody has begun is not committed',
    test: exchanged(
      'a transaction that somebody has left open (for groups: false) > or begins when its connection has been found idle: whether a statement is committed is unknown',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: '|| !(await isIdle(client).catch(() => false))',
    why: 'a connection is not given back in the middle of a transaction that is not ours',
    test: exchanged(
      'a transaction that somebody has left open (for groups: false) > or begins when its connection has been found idle: if a statement fails, nobody else is lent it',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: '|| isForgotten(error.cause)',
    why: 'a session that has forgotten its statements has forgotten its settings',
    test: exchanged(
      'rows are found by an index, whatever was planned > in a session that was told to forget all, when it is noticed',
    ),
  },
  {
    file: 'src/adapters/pg-exchange.ts',
    line: 'this.#prepared = preparedIn.get(client.connection) ?? new Map();',
    replacement: 'this.#prepared = preparedIn.get(client as never) ?? new Map();',
    why: 'what a session has prepared is known, whoever has it',
    test: exchanged(
      'two ports over one pool, one of them classified, know the same sessions (for groups: false)',
    ),
  },
  {
    file: 'src/adapters/pg-exchange.ts',
    line: `!this.#preparing.has(name) && isStale(error)`,
    replacement: 'isStale(error)',
    why: 'what the server never takes is not tried again',
    test: {
      file: 'test/read-then-write.test.ts',
      name: 'a statement that was prepared before its table changed, or was forgotten, fails once at most, and may be tried again (PostgreSQL)',
    },
  },
  {
    file: 'src/adapters/pg-exchange.ts',
    line: `return new StoreError('REJECTED', 'none', 'a value that cannot be sent', { cause });`,
    replacement: 'return cause as StoreError;',
    why: 'what was not sent did not take effect',
    test: exchanged(
      'a value that cannot be sent is refused before anything is, and the connection goes on > pipelined: false > itself',
    ),
  },
  {
    file: 'src/adapters/pg-exchange.ts',
    line: 'for (const { values } of statements) requireSendable(values);',
    why: 'bytes that are gone are not sent as none',
    test: exchanged(
      'a value that cannot be sent is refused before anything is, and the connection goes on > pipelined: false > a Buffer that is gone',
    ),
  },
  {
    file: 'src/postgres/batch.ts',
    line: 'Buffer.isBuffer(attached(bytes))',
    replacement: 'Buffer.isBuffer(bytes)',
    why: 'bytes that are gone are not written as none',
    test: exchanged('bytes that are gone are not written as none: in a list'),
  },
  {
    file: 'src/postgres/listed.ts',
    line: 'attached(value)',
    replacement: 'value',
    why: 'bytes that are gone are not written as none',
    test: exchanged('bytes that are gone are not written as none: in a list, of a type that is told'),
  },
  {
    file: 'src/postgres/errors.ts',
    line: '|25P04)$/',
    replacement: ')$/',
    why: 'a session that the server has ended is not lent again',
    test: exchanged(
      'a time limit of the server for a transaction ends the session, which is lent to nobody any more',
    ),
  },
  {
    file: 'src/postgres/batch.ts',
    line: '> LAST_MS ? 0 : local',
    replacement: '> Infinity ? 0 : local',
    why: 'a moment is a moment, however late',
    test: exchanged('the last moment that there is can be stored, whatever the time zone'),
  },
  {
    file: 'src/adapters/pg.ts',
    line: 'if (ending && !ends) throw transactionIsOver();',
    why: 'what comes after a COMMIT that is on its way would commit by itself',
    test: adapters(
      'the adapter: kysely on pg > what is sent while a transaction ends does not commit by itself',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: 'destroy || broken',
    replacement: 'destroy',
    why: 'a connection whose answer never came is not lent again',
    test: {
      file: 'test/traps.test.ts',
      name: 'on postgres > F30: the client gives up > which the adapter calls unknown, and lends that connection to nobody (kysely)',
    },
  },
  {
    file: 'src/adapters/pg.ts',
    line: 'connectIdle(pool).then(wrap)',
    replacement: 'connect(pool).then(wrap)',
    why: 'nor is a transaction that somebody has left open committed through Kysely',
    test: adapters(
      'a classified pool of pg > lends nobody a transaction that is open: a transaction of Kysely does not commit it, is told so, and not done',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `if (typeof answer !== 'function') return result;`,
    replacement: `if (typeof answer !== 'symbol') return result;`,
    why: 'who asks by callback is answered',
    test: adapters('a classified pool of pg > answers as the driver does: a text and a callback'),
  },
  {
    file: 'src/adapters/pg.ts',
    line: 'answer(undefined, client, client.release)',
    replacement: 'answer(undefined, client, () => client.release())',
    why: 'what is given back twice is not taken from its next holder',
    test: adapters('a classified pool of pg > lends by callback, with the means to give it back, once'),
  },
  {
    file: 'src/adapters/pg.ts',
    line: '(value) => queueMicrotask(() => done(value)),',
    replacement: 'done,',
    why: 'what a callback throws is told as the driver tells it',
    test: adapters(
      'a classified pool of pg > calls back once, and what that throws is an exception that nobody catches',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `'BEGIN ISOLATION LEVEL READ COMMITTED'`,
    replacement: `'BEGIN'`,
    why: 'who waited for a lock reads the row again',
    test: adapters(
      'the adapter: pg > transactions are at READ COMMITTED, where sessions are at REPEATABLE READ',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `if (command === 'COMMIT') return;`,
    replacement: 'return;',
    why: 'a COMMIT that was answered with ROLLBACK has kept nothing (F24)',
    test: adapters(
      'the adapter: pg > a COMMIT after a failure that was swallowed is an error, and keeps nothing',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `end();
        const answer`,
    replacement: 'const answer',
    why: 'nothing is sent beside the COMMIT',
    test: adapters(
      'the adapter: pg > what is sent beside a COMMIT that is on its way does not commit by itself',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `end();
          broken = await rollback(client).then(`,
    replacement: 'broken = await rollback(client).then(',
    why: 'nothing is sent beside the ROLLBACK',
    test: adapters('the adapter: pg > what is sent while a transaction ends does not commit by itself'),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `await client.query('ROLLBACK');`,
    why: 'the next on the connection does not commit what was refused',
    test: adapters(
      'the adapter: pg > a refusal costs no connection, and the next on it commits nothing of it',
    ),
  },
  {
    file: 'src/adapters/pg.ts',
    line: `client.on('error', () => undefined);`,
    why: 'a connection that breaks does not end the process',
    test: {
      file: 'test/migrate.test.ts',
      name: 'postgres > pawl migrate > the connection is ended in the middle: 2 where something may be done, and the next run completes it',
    },
  },
];

const mysql2: readonly Mutant[] = [
  {
    file: 'src/adapters/mysql-transaction.ts',
    line: `throw new StoreError('ROLLED_BACK', 'none', 'an earlier statement of this transaction has failed');`,
    why: 'after an error no statement passes that would commit by itself (F22)',
    test: {
      file: 'test/traps.test.ts',
      name: 'on MySQL (mariadb) > F22: select for update, then insert > through the adapter nothing passes after it, and nothing stays (driver)',
    },
  },
  {
    file: 'src/adapters/mysql-transaction.ts',
    line: ` || code === 'DUPLICATE_KEY'`,
    why: 'a lost claim does not end its transaction',
    test: {
      file: 'test/unique-claim.test.ts',
      name: 'mariadb > unique claim > a claim that is lost inside a transaction leaves the transaction usable',
    },
  },
  {
    file: 'src/adapters/mysql-transaction.ts',
    line: `return this.#state !== 'none' || `,
    replacement: 'return ',
    why: 'an open transaction is not lent to the next',
    test: adapters('mysql2 > one that is released with a transaction is not'),
  },
  {
    file: 'src/adapters/mysql-transaction.ts',
    line: 'this.#waitLimitLost ||= this.#waitLimited;',
    why: 'two limits at once cannot be given back',
    test: adapters('mysql2 > two limited waits at once do not leave their limit to the next'),
  },
  {
    file: 'src/adapters/mysql2-session.ts',
    line: 'this.#lastTurn.then(() => this.#take(command, statement, texts))',
    replacement: 'this.#take(command, statement, texts)',
    why: 'the second statement is not on its way when the first ends the transaction',
    test: adapters(
      'mysql2 > of two statements at once, the second is not sent when the first has ended the transaction',
    ),
  },
  {
    file: 'src/adapters/mysql2-session.ts',
    line: 'if (this.#ending && !endsTransaction(text)) throw transactionIsOver();',
    why: 'what comes after a COMMIT that is on its way would commit by itself',
    test: adapters(
      'the adapter: kysely on mysql2 > what is sent while a transaction ends does not commit by itself',
    ),
  },
  {
    file: 'src/adapters/mysql2-session.ts',
    line: 'if (this.#lost !== undefined) throw this.#lost;',
    why: 'a ROLLBACK after a lost COMMIT does not make little of it',
    test: adapters('mysql2 > a statement that waits behind another of its transaction is given up with it'),
  },
  {
    file: 'src/adapters/mysql2-session.ts',
    line: 'this.#waiting > 0 || ',
    why: 'a connection on which something waits is not lent again',
    test: adapters('mysql2 > nor is one that is released while a statement runs on it'),
  },
  {
    file: 'src/adapters/mysql2-session.ts',
    line: 'const limit = setTimeout(gaveUp, this.#queryTimeoutMs);',
    replacement: 'const limit = setTimeout(() => gaveUp, this.#queryTimeoutMs);',
    why: 'a server that has fallen silent is given up',
    test: adapters(
      'the adapter: mysql2 > a server that falls silent is given up, also before it has prepared a statement',
    ),
  },
  {
    file: 'src/adapters/mysql2.ts',
    line: "{ text: 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED', values: [] },",
    why: 'who waited for a lock reads the row again',
    test: adapters(
      'the adapter: mysql2 > transactions are at READ COMMITTED, where sessions are at REPEATABLE READ',
    ),
  },
  {
    file: 'src/adapters/mysql2.ts',
    line: "'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',",
    why: 'nor is it said to each transaction in a pool for groups',
    test: {
      file: 'test/adapters.test.ts',
      name: 'mysql2 > a pool for groups (true) is at READ COMMITTED, and waits a second',
    },
  },
  {
    file: 'src/adapters/mysql2.ts',
    line: 'if (tooLate) connection.release();\n        else resolve(connection);',
    replacement: 'resolve(connection);',
    why: 'what was lent too late is taken back',
    test: adapters('mysql2 > one whose set-up takes longer than a caller waits is lent to the next'),
  },
  {
    file: 'src/adapters/mysql2.ts',
    line: `whole.values?.length ? 'execute' : command`,
    replacement: 'command',
    why: 'values are never sent as text',
    test: adapters(
      'the adapter: mysql2 > values > come back as they went in: with the other rules for backslashes',
    ),
  },
  {
    file: 'src/adapters/mysql2.ts',
    line: 'if ((flags & CLIENT_FOUND_ROWS) === 0) {',
    replacement: 'if (false) {',
    why: 'an update that finds its row as it should be has not lost (F27)',
    test: adapters('mysql2 > a pool that does not count found rows is refused, and nothing was sent'),
  },
  {
    file: 'src/adapters/mysql2.ts',
    line: 'for (const sql of [COMMITS_BY_ITSELF, ',
    replacement: 'for (const sql of [',
    why: 'a single statement waits for no COMMIT that nobody sends',
    test: adapters(
      'mysql2 > a server whose sessions do not commit by themselves: a single statement does all the same',
    ),
  },
];

const kysely: readonly Mutant[] = [
  {
    file: 'src/adapters/kysely.ts',
    line: `.setIsolationLevel('read committed')`,
    why: 'who waited for a lock reads the row again',
    test: adapters(
      'the adapter: kysely on pg > transactions are at READ COMMITTED, where sessions are at REPEATABLE READ',
    ),
  },
  {
    file: 'src/adapters/kysely.ts',
    line: '.finally(end)',
    why: 'a branch that outlives its transaction writes into nobody else’s',
    test: adapters(
      'the adapter: kysely on pg > a branch of the work that outlives its transaction reaches nobody else’s',
    ),
  },
  {
    file: 'src/adapters/kysely.ts',
    line: 'if (!committing) return neverCommitted',
    replacement: 'return neverCommitted',
    why: 'a COMMIT whose answer is lost may have been carried out',
    test: adapters('the adapter: kysely on mysql2 > a COMMIT whose answer is lost is not tried again'),
  },
  {
    file: 'src/adapters/kysely.ts',
    line: 'if (failed !== undefined) throw failed.error;',
    why: 'a refusal stays one when its ROLLBACK fails',
    test: adapters(
      'the adapter: kysely on pg > a refusal stays one when the connection is lost before it is rolled back',
    ),
  },
];

const redis: readonly Mutant[] = [
  {
    file: 'src/redis/script.ts',
    line: ` || error.code !== 'UNKNOWN_SCRIPT'`,
    why: 'a script whose answer was lost is not run again',
    test: redisAdapters('the ioredis adapter > a script whose answer is lost is not run again'),
  },
  {
    file: 'src/redis/errors.ts',
    line: `mayHaveWritten ? 'unknown' : 'none'`,
    replacement: `'none'`,
    why: 'a script that failed keeps what it has written',
    test: redisAdapters(
      'the ioredis adapter > an error reply is told by its code > a script that fails keeps what it has written: unknown',
    ),
  },
  {
    file: 'src/adapters/redis-port.ts',
    line: 'if (notReady !== undefined) {',
    replacement: 'if (false) {',
    why: 'nothing is kept to be sent later',
    test: redisAdapters(
      'the ioredis adapter > nothing is kept for the next connection while the last is being replaced',
    ),
  },
  {
    file: 'src/adapters/redis-port.ts',
    line: `return new StoreError('CONNECTION_LOST', 'unknown', message, { cause: error });`,
    replacement: `return new StoreError('CONNECTION_LOST', 'none', message, { cause: error });`,
    why: 'a command whose answer was lost may have taken effect (F10)',
    test: redisAdapters(
      'the node-redis adapter > a command whose answer is lost is unknown, and is not sent again',
    ),
  },
  {
    file: 'src/adapters/redis-port.ts',
    line: 'if (++command.looks <= LOOKS) continue;',
    replacement: 'if (++command.looks < 1) continue;',
    why: 'an answer that came while the process stood still counts',
    test: redisAdapters(
      'the ioredis adapter > an answer that came while the process stood still is not too late',
    ),
  },
  {
    file: 'src/adapters/redis-port.ts',
    line: 'driver.replaceConnection();\n',
    replacement: '\n',
    why: 'a connection that has fallen silent is replaced',
    test: redisAdapters('the ioredis adapter > a connection that has fallen silent is replaced'),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: 'refuseUnsafe(client.options);',
    why: 'a client that sends again what was lost takes a stock twice (F10)',
    test: redisAdapters('a client that is not safe is refused > ioredis'),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: `client.stream?.writable ? undefined : 'closing'`,
    replacement: 'undefined',
    why: 'nothing is sent into a connection that closes',
    test: redisAdapters(
      'the ioredis adapter > a server that has fallen silent: a command is given up, and may take effect yet',
    ),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: 'process.nextTick(this.#end);',
    why: 'what is kept to be written with others is written when there are none',
    test: redisAdapters(
      'what ioredis is given in one turn of the event loop > one that is alone is written before the turn ends',
    ),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: 'stream.cork();',
    why: 'commands of many callers are written together',
    test: redisAdapters(
      'what ioredis is given in one turn of the event loop > with it, it writes together, no more than 32, in their order',
    ),
  },
  {
    file: 'src/adapters/node-redis.ts',
    line: 'if (client.options?.disableOfflineQueue !== true) {',
    replacement: 'if (false) {',
    why: 'a client that keeps commands sends them when nobody waits any more',
    test: redisAdapters('a client that is not safe is refused > node-redis'),
  },
  {
    file: 'src/adapters/node-redis.ts',
    line: 'client.destroy();\n',
    replacement: '\n',
    why: 'a connection that has fallen silent is replaced',
    test: redisAdapters('the node-redis adapter > a connection that has fallen silent is replaced'),
  },
];

/** The ports over the drivers. */
export const adapterMutants: readonly Mutant[] = [...shared, ...pg, ...mysql2, ...kysely, ...redis];
