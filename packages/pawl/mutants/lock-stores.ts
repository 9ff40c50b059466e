// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are lines of code.
import type { Mutant, NamedTest } from './mutant.ts';

const memory = (name: string): NamedTest => ({ file: 'test/lock-memory-store.test.ts', name });
const sql = (name: string): NamedTest => ({ file: 'test/lock-sql-store.test.ts', name });

const MEMORY = 'src/memory/distributed-lock.ts';
const memoryMutants: readonly Mutant[] = [
  {
    file: MEMORY,
    line: 'if (line.size > 0 && !ask.wait) place.refuse();\n    else {',
    replacement: '{',
    why: 'who does not want to wait does not wait',
    test: memory('the line > is not joined by who does not wait'),
  },
  {
    file: MEMORY,
    line: 'if (line.size === 1) place.grant(takeTokens());',
    replacement: 'place.grant(takeTokens());',
    why: 'one holds it at a time',
    test: memory('one at a time > with one, nobody does'),
  },
  {
    file: MEMORY,
    line: 'else if (held) next.grant(takeTokens());',
    replacement: 'else next.grant(takeTokens());',
    why: 'who leaves the line gives nobody the lock that another holds',
    test: memory('the lease > is no longer when somebody leaves the line'),
  },
  {
    file: MEMORY,
    line: 'if (!line.delete(place)) return false;',
    replacement: 'line.delete(place);',
    why: 'what was given back already is given back once',
    test: memory('the line > passes by what was given back already: nobody gives back the lock of another'),
  },
  {
    file: MEMORY,
    line: 'if (next === undefined) lines.delete(key);',
    replacement: 'if (next === undefined) return held;',
    why: 'nothing is kept of a key that nobody wants',
    test: memory('nothing is kept of a key that nobody wants'),
  },
  {
    file: MEMORY,
    line: 'Math.max(lastToken, Date.now() * 1_000) + 1',
    replacement: 'Date.now() * 1_000 + 1',
    why: 'tokens grow, also when the clock is put back',
    test: memory('tokens grow from grant to grant, over all keys, and whatever the clock does'),
  },
  {
    file: MEMORY,
    line: 'if (this.#held) this.#lease();',
    why: 'a lock that is renewed has another lease',
    test: memory('the lease > begins anew with each renewal'),
  },
  {
    file: MEMORY,
    line: 'this.#overdue = setImmediate(() => this.#lose());\n      this.#overdue.unref();',
    replacement: 'this.#lose();',
    why: 'a renewal that is due goes before the end of the lease',
    test: memory(
      'after a standstill of the process > a renewal that is due goes before the end of the lease, also where its timer runs later',
    ),
  },
  {
    file: MEMORY,
    line: 'clearImmediate(this.#overdue);',
    why: 'what has been renewed does not end',
    test: memory(
      'after a standstill of the process > a renewal that is due goes before the end of the lease, also where its timer runs later',
    ),
  },
  {
    file: MEMORY,
    line: 'this.#onLost?.(new LeaseLostError',
    replacement: 'void (new LeaseLostError',
    why: 'the holder is told',
    test: memory('the lease > ends by itself: who is next has the lock, and the holder is told'),
  },
];

const onPostgres = (name: string) => sql(`locks of sessions: postgres > ${name}`);
const onMariadb = (name: string) => sql(`locks of sessions: mariadb > ${name}`);
const SQL = 'src/sql-lock-store.ts';
const sqlMutants: readonly Mutant[] = [
  {
    file: SQL,
    line: 'JSON.stringify([namespace, key])',
    replacement: 'key',
    why: 'services that share a database do not share locks',
    test: onPostgres('one at a time > other keys, and other namespaces, are other locks'),
  },
  {
    file: SQL,
    line: 'session.onLost((cause) => this.#lose(cause));',
    why: 'a holder whose session ends is told at once',
    test: onMariadb('a holder > whose session the server ends is told at once, and holds nothing any more'),
  },
  {
    file: SQL,
    line: 'if (lost !== undefined) queueMicrotask(() => told(lost.cause));',
    why: 'also who listens too late is told',
    test: onPostgres('a holder > that listens too late is told as well'),
  },
  {
    file: 'src/postgres/distributed-lock.ts',
    line: `set_config('statement_timeout', '0', true)`,
    replacement: `set_config('pawl.absent', '0', true)`,
    why: 'who waits is not ended by the limit of his user',
    test: onPostgres('the session > waits for its turn, whatever limits its user has for statements'),
  },
  {
    file: 'src/postgres/distributed-lock.ts',
    line: `coalesce(current_setting('pawl.idle_session_timeout', true),
      current_setting('idle_session_timeout'))`,
    replacement: `current_setting('idle_session_timeout')`,
    why: 'a lease is not the limit of whoever has the connection next',
    test: onPostgres(
      'the session > is lent again with the idle limit that it had, however the lock was given back',
    ),
  },
  {
    file: 'src/mysql/distributed-lock.ts',
    line: 'SET SESSION wait_timeout = ${KEPT}, @pawl',
    replacement: 'SET @pawl',
    why: 'a lease is not the limit of whoever has the connection next',
    test: onMariadb(
      'the session > is lent again with the idle limit that it had, however the lock was given back',
    ),
  },
  {
    file: 'src/mysql/distributed-lock.ts',
    line: `wait ? '/*M! SET STATEMENT max_statement_time = 0 FOR */ ' : ''`,
    replacement: `''`,
    why: 'who waits is not ended by the limit of his user',
    test: onMariadb('the session > waits for its turn, whatever limits its user has for statements'),
  },
  {
    file: 'src/mysql/distributed-lock.ts',
    line: '= CONNECTION_ID() AS held',
    replacement: 'IS NOT NULL AS held',
    why: 'what somebody else holds is not renewed',
    test: onMariadb('a holder > renews only its own lock'),
  },
];

/** Locks in a process and in a database. */
export const lockStoreMutants: readonly Mutant[] = [...memoryMutants, ...sqlMutants];
