import type { Mutant, NamedTest } from './mutant.ts';

const leased = (name: string): NamedTest => ({ file: 'test/idempotency-key.test.ts', name });
const takeover = (name: string): NamedTest => ({ file: 'test/idempotency-takeover.test.ts', name });
const lostCommit = (name: string): NamedTest => ({ file: 'test/idempotency-lost-commit.test.ts', name });
const leases = (name: string): NamedTest => ({ file: 'test/lease-renewal.test.ts', name });
const transactional = (name: string): NamedTest => ({ file: 'test/idempotency-transaction.test.ts', name });

const requests: readonly Mutant[] = [
  {
    file: 'src/idempotency-request.ts',
    line: 'JSON.stringify(parts)',
    replacement: `parts.join(',')`,
    why: 'two scopes that read the same are two',
    test: leased('postgres > what makes a key another key > a scope that reads the same when joined'),
  },
  {
    file: 'src/idempotency-answer.ts',
    line: 'if (allowed.has(name)) ',
    why: 'nobody is given somebody else’s Set-Cookie',
    test: leased('memory > every byte, every status and the listed headers come back, and no others'),
  },
  {
    file: 'src/idempotency-answer.ts',
    line: 'status >= 500 || status === TIMED_OUT',
    replacement: 'false',
    why: 'a server error is not final',
    test: leased('memory > what becomes of a key > an answer 500, by default'),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'if (record.mode !== mode) {',
    replacement: 'if (false) {',
    why: 'a key is used in one mode',
    test: transactional('postgres > a key has one mode: the other is a misuse, and nothing runs'),
  },
  {
    file: 'src/idempotency-run.ts',
    line: `if (record.fingerprint !== fingerprint) return refused('payload-mismatch');`,
    why: 'another payload is not answered with this one’s answer',
    test: leased(
      'memory > a key that comes back with another payload (a blank more) is refused, while the first runs and after',
    ),
  },
];

const running: readonly Mutant[] = [
  {
    file: 'src/idempotency-run.ts',
    line: `if (ended.outcome === 'refused') await this.#release();`,
    replacement: 'await this.#release();',
    why: 'work of which it is not known what it did is not done again at once',
    test: leased(
      'memory > what becomes of a key > a refusal gives it back; unknown and thrown keep it until the lease is over',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: `if (this.#settings.policy.threw(error) === 'release') await this.#release();`,
    replacement: 'await this.#release();',
    why: 'work that threw may have had its effect',
    test: leased(
      'memory > what becomes of a key > a refusal gives it back; unknown and thrown keep it until the lease is over',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: `if (ended.outcome === 'refused') await this.#release();`,
    why: 'a refusal gives the key back',
    test: leased('memory > a released key is as free as before'),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'return ours ? ended : this.#overtaken(ended.value);',
    replacement: 'return ended;',
    why: 'one answer for all, also for the one who was overtaken',
    test: leased(
      'postgres > a handler that is stalled past its lease > a successor runs, its answer is the one that all get, the late one included',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'return unknown(() => this.#overtaken(answer));\n  }\n\n  /** The work did not run',
    replacement: 'return done(answer);\n  }\n\n  /** The work did not run',
    why: 'while the successor is at work nobody knows the answer',
    test: leased(
      'postgres > a handler that is stalled past its lease > while the successor is still at work, the late one’s outcome is unknown, and resolves to the successor’s',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'return done(this.#completed === undefined ? answer : record.answer);',
    why: 'a completion whose answer was lost is not a lost lease',
    test: leased('a store that fails > a completion whose answer is lost is not taken for a lost lease'),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'if (record?.owner === owner && record.answer !== undefined) return done(record.answer);',
    why: 'what was committed is not lost when it is tried again',
    test: leased(
      'in a transaction of the caller’s, postgres > one that was committed and is tried again is its own answer, and nobody is told of a loss',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'record === undefined || record.fingerprint !== fingerprint',
    replacement: 'record === undefined',
    why: 'the answer to another payload is not this one’s',
    test: takeover(
      'memory > a stalled one whose key is somebody else’s by now is not given the answer to another payload',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'if (isFinal || performance.now() + pauseMs > endMs) throw error;',
    replacement: 'throw error;',
    why: 'work that was done is worth some patience',
    test: leased('a store that fails > at the completion, for a moment: it is tried again, and stored'),
  },
  {
    file: 'src/idempotency-key.ts',
    line: `if (error instanceof StoreError && error.code === 'LOCK_TIMEOUT') return undefined;`,
    why: 'a record that is locked is somebody at work, not a failure',
    test: leased('a store that fails > a claim that meets a locked record is refused, not failed'),
  },
];

const withTheCallersRows: readonly Mutant[] = [
  {
    file: 'src/idempotency-store.ts',
    line: 'within: (transaction) => over(transaction, table)',
    replacement: 'within: () => over(sql, table)',
    why: 'the answer commits or vanishes with the caller’s rows',
    test: leased(
      'in a transaction of the caller’s, postgres > what rolls back after it leaves neither, and the key is released with the refusal',
    ),
  },
  {
    file: 'src/idempotency-store.ts',
    line: '(await session.execute(statement)).affectedRows === 1;',
    replacement: '(await session.execute(statement)).affectedRows >= 0;',
    why: 'who changed no record does not hold it',
    test: leased(
      'in a transaction of the caller’s, postgres > a stalled one rolls its business row back, and its caller gets the successor’s answer',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'if (this.#fenced && error instanceof LeaseLostError) return this.#withoutEffect();',
    why: 'who was fenced is given the successor’s answer',
    test: leased(
      'in a transaction of the caller’s, postgres > a stalled one rolls its business row back, and its caller gets the successor’s answer',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'isFinishing: () => this.#completing,',
    replacement: 'isFinishing: () => false,',
    why: 'a record that was just completed is not a lost lease',
    test: takeover(
      'a record that somebody holds, postgres > a lease that ends while its holder completes it is not said to be lost',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'if (await within(leaseMs, this.#wasCommitted()).catch(() => false)) return done(answer);',
    why: 'a COMMIT whose answer was lost may have been carried out',
    test: lostCommit(
      'leased, postgres: the answer to the COMMIT is lost > it was carried out: the outcome is done',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: '!(await store.renew(id, owner, times)) && ',
    why: 'the transaction whose COMMIT was not answered is waited for',
    test: lostCommit(
      'on PostgreSQL, the client gives up a COMMIT that the server is still at > leased: the guard waits for the end of it, and tells what became of it',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: 'return record?.owner === this.#holding.owner && record.answer !== undefined;',
    replacement: 'return true;',
    why: 'somebody else’s answer does not prove that ours was committed',
    test: lostCommit(
      'leased, postgres: the answer to the COMMIT is lost > somebody else’s answer does not prove that it was carried out',
    ),
  },
];

const renewal: readonly Mutant[] = [
  {
    file: 'src/lease-renewal.ts',
    line: 'if (ours) this.#leaseEndMs = Math.max(this.#leaseEndMs, sentMs + leaseMs);\n      else',
    replacement: 'if (!ours)',
    why: 'a renewed lease is not lost',
    test: leases('a lease that is renewed lives for many lengths of it'),
  },
  {
    file: 'src/lease-renewal.ts',
    line: 'if (sentMs - claimedAtMs > renewForMs) return this.look();',
    why: 'a handler that hangs does not keep its key for ever',
    test: leases('it is renewed for renewForMs and no longer'),
  },
  {
    file: 'src/lease-renewal.ts',
    line: 'if (this.#endTimer === undefined) this.#awaitEnd();',
    why: 'a lease counts as lost when the store is silent',
    test: leases('it begins before the claim was sent, however long its answer took'),
  },
  {
    file: 'src/lease-renewal.ts',
    line: `else this.lose('somebody else has taken it over, or the store has forgotten it');`,
    why: 'who does not hold the lease any more is told at the next renewal',
    test: leases('who does not hold it any more is told at the next renewal, long before it would end'),
  },
  {
    file: 'src/lease-renewal.ts',
    line: 'this.#lost?.abort(this.#reason);',
    why: 'the work is told that its lease is lost',
    test: leases('who does not hold it any more is told at the next renewal, long before it would end'),
  },
  {
    file: 'src/lease-renewal.ts',
    line: 'options.claimedAtMs + options.leaseMs;',
    replacement: 'performance.now() + options.leaseMs;',
    why: 'the store may have counted the lease from when the claim was sent',
    test: leases('it begins before the claim was sent, however long its answer took'),
  },
  {
    file: 'src/lease-renewal.ts',
    line: 'Math.max(this.#leaseEndMs, sentMs + leaseMs)',
    replacement: 'performance.now() + leaseMs',
    why: 'the store may have counted it from when the renewal was sent',
    test: leases('it is prolonged from when the renewal was sent, however long its answer took'),
  },
  {
    file: 'src/lease-renewal.ts',
    line: ' && !this.#options.isFinishing()',
    why: 'a record that is being completed is not a lost lease',
    test: leases(
      'while its holder is finishing it does not count as lost for want of an answer, and then it does',
    ),
  },
];

const inTransactionalMode: readonly Mutant[] = [
  {
    file: 'src/idempotency-transaction.ts',
    line: 'await withinWait(transaction, waitMs, () => records.claim(claim)).catch(',
    replacement: 'await records.claim(claim).catch(',
    why: 'a duplicate does not wait for ever, with a connection',
    test: transactional('postgres > who waits longer than waitMs is refused, without an effect'),
  },
  {
    file: 'src/idempotency-transaction.ts',
    line: `if (error instanceof StoreError && error.code === 'LOCK_TIMEOUT') return undefined;`,
    why: 'a lock that was not granted in time is a refusal',
    test: transactional('postgres > who waits longer than waitMs is refused, without an effect'),
  },
  {
    file: 'src/idempotency-transaction.ts',
    line: `outcome.outcome === 'done' && found.record.owner === owner ? done(outcome.value) : outcome`,
    replacement: 'outcome',
    why: 'who tries again after a lost COMMIT finds that it was his own',
    test: transactional(
      'postgres > the answer to the COMMIT is lost > it was carried out: the same request finds its own answer',
    ),
  },
  {
    file: 'src/idempotency-transaction.ts',
    line: 'const isLost = committing && ',
    replacement: 'const isLost = ',
    why: 'what another store has lost is not tried again',
    test: transactional(
      'postgres > an unknown error of another store is not taken for a lost COMMIT: the work is not repeated',
    ),
  },
  {
    file: 'src/idempotency-transaction.ts',
    line: 'if (isLost) lost = error;',
    why: 'after a lost COMMIT the request is run again, which the record makes safe',
    test: transactional(
      'postgres > the answer to the COMMIT is lost > it never arrived: the work is done again',
    ),
  },
  {
    file: 'src/idempotency-transaction.ts',
    line: 'if (lost === undefined || !undecided) return outcome;',
    replacement: 'return outcome;',
    why: 'after a lost COMMIT, a lock that is not granted does not mean that nothing was done',
    test: lostCommit(
      'on PostgreSQL, the client gives up a COMMIT that the server is still at > transactional: a lock that is not granted meanwhile does not mean that nothing was done',
    ),
  },
  {
    file: 'src/idempotency-transaction.ts',
    line: 'if (await records.complete(id, owner, stored(ended.value), retentionMs)) return done(ended.value);',
    replacement: 'return done(ended.value);',
    why: 'the record commits with its answer',
    test: transactional(
      'postgres > in a transaction of the caller’s > the record commits and rolls back with it',
    ),
  },
];

/** Idempotency keys, whichever store keeps them. */
const found: readonly Mutant[] = [
  {
    file: 'src/idempotency-run.ts',
    line: 'this.#isFresh() ? this.#holding.claimedAtMs : await this.#renewedLease()',
    replacement: 'this.#holding.claimedAtMs',
    why: 'a lease that was waited for may be over when the work begins',
    test: leased(
      'in a transaction of the caller’s, postgres > a claim that had to wait for a connection is renewed before the work begins',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: `throw new LeaseLostError('somebody else has taken the key over: roll back');`,
    replacement: 'return done(answer);',
    why: 'what a fenced holder has written must roll back',
    test: leased(
      'in a transaction of the caller’s, postgres > so does one whose transaction would commit whatever its work resolves with',
    ),
  },
  {
    file: 'src/idempotency-run.ts',
    line: ' || (this.#completing && (await this.#isCompleted()))',
    replacement: ' || this.#completing',
    why: 'after a rollback a lost lease is lost',
    test: leased(
      'in a transaction of the caller’s, postgres > after a rollback, a lost lease is told at the next renewal',
    ),
  },
  {
    file: 'src/idempotency-key.ts',
    line: 'if (!isConflict(failure)) throw failure;',
    replacement: 'throw failure;',
    why: 'a conflict of two claims is no failure',
    test: leased(
      'sessions that are stricter by default, postgres > SERIALIZABLE: one runs, and nobody fails',
    ),
  },
  {
    file: 'src/lease-renewal.ts',
    line: 'this.#sentMs === undefined ? 0 : this.#sentMs + this.#intervalMs',
    replacement: '0',
    why: 'after a standstill the store decides, and not a timer that is overdue',
    test: {
      file: 'test/lease-renewal.test.ts',
      name: 'after a standstill the renewal decides, and not the timer that is overdue too',
    },
  },
  {
    file: 'src/lease-renewal.ts',
    line: `this.#tell('it could not be renewed in time');`,
    replacement: `this.lose('it could not be renewed in time');`,
    why: 'what could not be confirmed is renewed all the same',
    test: {
      file: 'test/lease-renewal.test.ts',
      name: 'a lease that could not be confirmed is renewed all the same, so that nobody need take it over',
    },
  },
  {
    file: 'src/idempotency-transaction.ts',
    line: '      lost = undefined;',
    why: 'a COMMIT that was not carried out is not what went wrong',
    test: {
      file: 'test/idempotency-transaction.test.ts',
      name: 'postgres > after a COMMIT that was not carried out, the error of the next try is the answer',
    },
  },
  {
    file: 'src/adapters/kysely.ts',
    line: 'const plain = db.withoutPlugins();',
    replacement: 'const plain = db;',
    why: 'the guards know their columns by their names',
    test: {
      file: 'test/adapters.test.ts',
      name: 'PostgreSQL > Kysely’s plugins, which rename columns, do not reach the guards',
    },
  },
];

export const idempotencyKeyMutants: readonly Mutant[] = [
  ...requests,
  ...running,
  ...withTheCallersRows,
  ...renewal,
  ...inTransactionalMode,
  ...found,
];
