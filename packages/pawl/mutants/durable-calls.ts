// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are lines of code.
import type { Mutant, NamedTest } from './mutant.ts';

const owner = (name: string): NamedTest => ({ file: 'test/durable-call.test.ts', name });
const failures = (name: string): NamedTest => ({ file: 'test/durable-call-failures.test.ts', name });
const fence = (name: string): NamedTest => ({ file: 'test/durable-call-fence.test.ts', name });
const recovery = (name: string): NamedTest => ({ file: 'test/durable-call-recovery.test.ts', name });
const compensation = (name: string): NamedTest => ({ file: 'test/durable-call-compensation.test.ts', name });
const takeBack = (name: string): NamedTest => ({ file: 'test/durable-call-take-back.test.ts', name });
const verdicts = (name: string): NamedTest => ({ file: 'test/durable-call-verdicts.test.ts', name });
const loop = (name: string): NamedTest => ({ file: 'test/durable-call-loop.test.ts', name });
const deaths = (name: string): NamedTest => ({ file: 'test/durable-call-deaths.test.ts', name });
const groups = (name: string): NamedTest => ({
  file: 'test/durable-call-groups.test.ts',
  name: `postgres, optimistic: false > ${name}`,
});
const optimistic = (name: string, on = 'postgres'): NamedTest => ({
  file: 'test/durable-call-groups.test.ts',
  name: `${on}, optimistic: true > ${name}`,
});

const rules: readonly Mutant[] = [
  {
    file: 'src/durable-call-rules.ts',
    line: 'isOwner(holding.call) ? afterOwnSend(heard.sent) : afterSendingAgain(holding, heard.sent);',
    replacement: 'afterOwnSend(heard.sent);',
    why: 'R2: a decline after a takeover is not believed',
    test: fence(
      'postgres > R2: the owner stands still before he sends; recovery sends, and is declined > it is noted and only looked up from then on, until the effect is found',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `return { do: 'leave', state: 'looking', takenOver: 'later', code: sent.code };`,
    replacement: `return { do: 'leave', state: 'unknown', takenOver: 'later', code: sent.code };`,
    why: 'R2: what was declined after a takeover is not sent again',
    test: fence(
      'postgres > R2: the owner stands still before he sends; recovery sends, and is declined > it is noted and only looked up from then on, until the effect is found',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `return state === 'looking' ? 'looking' : 'unknown';`,
    replacement: `return state === 'looking' ? 'unknown' : 'unknown';`,
    why: 'R2: a noted decline stays noted',
    test: fence(
      'postgres > R2: the owner stands still before he sends; recovery sends, and is declined > it is noted and only looked up from then on, until the effect is found',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `{ do: 'leave', state: 'unknown', takenOver: 'at-once', code: sent.code }`,
    replacement: `{ do: 'leave', state: 'unknown', takenOver: 'later', code: sent.code }`,
    why: 'R4: the owner ends his lease with what he does not know',
    test: owner(
      'postgres > R4: an outcome that its owner does not hear > ends his lease; the same request is unknown until it is settled, then given the answer',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: 'if (call.isFinal) return',
    replacement: 'return',
    why: 'R6: what is not found may still come, until the known end',
    test: recovery(
      'postgres > R6: a message that is on its way, and no look-up finds it yet > it waits while it may still come, and settles it when it has',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `if (call.isFinal) return { do: 'release', why: { reason: 'not-found', code: call.code } };`,
    why: 'R6: what can no longer come is given back',
    test: recovery(
      'postgres > R6: a message that is on its way, and no look-up finds it yet > one that is sent after the end was read is final',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `return isOwner(call) ? { do: 'send' } : { do: 'look-up' };`,
    replacement: `return { do: 'send' };`,
    why: 'R7: whoever takes over looks up first',
    test: recovery(
      'postgres > R7: what recovery sends > where tokens are honoured: looks up first, then the same message under the same token',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `if (repeat === 'idempotent' && call.state === 'unknown')`,
    replacement: `if (call.state === 'unknown')`,
    why: 'R7: what may never be repeated is not',
    test: recovery('postgres > R7: what recovery sends > where they are not, it is only looked up'),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: 'token: ({ subject, attempt }) => `${subject}:${attempt}`',
    replacement: 'token: ({ subject, fence }) => `${subject}:${fence}`',
    why: 'R7: every try of an attempt has the same token',
    test: recovery(
      'postgres > R7: what recovery sends > where tokens are honoured: looks up first, then the same message under the same token',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: 'token: ({ subject, attempt }) => `${subject}:${attempt}`',
    replacement: 'token: ({ subject }) => subject',
    why: 'R3: the next attempt has a token of its own',
    test: owner(
      'postgres > R2, R3: a decline that its owner hears > one token for all attempts: what was declined once is declined for ever; with one for each, the next succeeds',
    ),
  },
];

const undoing: readonly Mutant[] = [
  {
    file: 'src/durable-call-rules.ts',
    line: '`${durableCallRules.token(call)}:${name}:${Math.max(1, call.compensationTry)}`',
    replacement: '`${durableCallRules.token(call)}:${name}:${call.fence}`',
    why: 'R8: a new token after a mere silence would undo it twice',
    test: compensation('postgres > one token for every try > the same one undoes once'),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `const nextTry = afterRefusal && found.outcome === 'standing';`,
    replacement: 'const nextTry = false;',
    why: 'R8: a refusal that is recorded under a token is given again for ever',
    test: compensation(
      'postgres > one token for every try > after a refusal, and a look-up that shows it standing, the next try has the next one',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `const nextTry = afterRefusal && found.outcome === 'standing';`,
    replacement: 'const nextTry = afterRefusal;',
    why: 'R8: only what is seen to stand is tried under a new token',
    test: compensation(
      'postgres > one token for every try > after a refusal and a look-up that shows nothing (not-found) it stays',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `if (found.outcome === 'done') return { do: 'end-compensation' };`,
    replacement: `if (found.outcome === 'done' || found.outcome === 'not-found') return { do: 'end-compensation' };`,
    why: 'R8: a look-up that finds nothing does not show that it was undone',
    test: compensation(
      'postgres > a look-up of it > that finds nothing: it is known to have come about, so it is undone',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `const mayRepeat = found.outcome !== 'unknown' || repeat === 'idempotent';`,
    replacement: 'const mayRepeat = true;',
    why: 'R8: where tokens are not honoured, it is not undone blindly',
    test: compensation(
      'postgres > a look-up of it > that is not answered: where tokens are honoured it is sent again, else it waits',
    ),
  },
  {
    file: 'src/durable-call-run.ts',
    line: `return done({ state: 'compensating', leaseMs, value, compensationTry: 1 } as const);`,
    replacement: `return done({ state: 'unknown', leaseMs, value, compensationTry: 1 } as const);`,
    why: 'R8: the intent to undo it is committed before the receiver hears of it',
    test: compensation(
      'postgres > what can no longer be completed > is undone; the intent is committed before the receiver hears of it, and the answer is stored',
    ),
  },
  {
    file: 'src/durable-call-run.ts',
    line: 'if (this.#call.answer !== undefined) return { state, retentionMs };',
    why: 'the answer that was given stays the answer',
    test: takeBack(
      'postgres > compensate: somebody takes back what is done > it is undone, and the request keeps the answer that it was given',
    ),
  },
  {
    file: 'src/durable-call-run.ts',
    line: ' && !isTakenBack',
    why: 'what was answered when it was done does not say that it has been undone',
    test: takeBack(
      'postgres > compensate: somebody takes back what is done > who does is overtaken: it is unknown while recovery is at it, although the booking was answered',
    ),
  },
  {
    file: 'src/durable-call-row.ts',
    line: `...(state === 'compensating' ? { verdict: null } : {}),`,
    why: 'a verdict about the effect is none about its compensation',
    test: verdicts(
      'postgres > of a call whose outcome nobody knows > done, and it can no longer be completed: it is undone, once',
    ),
  },
];

const holding: readonly Mutant[] = [
  {
    file: 'src/sql-durable-call-store.ts',
    line: `return (await affected(transaction, change)) ? done(undefined) : refused('fenced');`,
    replacement: 'await affected(transaction, change);\n          return done(undefined);',
    why: 'who has lost the fence writes nothing',
    test: fence(
      'postgres > the owner is overtaken between his message and his settlement > with it, once, and its caller is given the true answer',
    ),
  },
  {
    file: 'src/postgres/durable-call.ts',
    line: ' AND fence = ${sql.value(fence)} AND ${UNSETTLED}',
    replacement: ' AND ${UNSETTLED}',
    why: 'only who holds the fence writes, while it is unsettled too',
    test: fence(
      'postgres > the owner is overtaken between his message and his settlement > while recovery is still at it, it is unknown to him',
    ),
  },
  {
    file: 'src/mysql/durable-call.ts',
    line: ' AND fence = ${sql.value(fence)} AND ${UNSETTLED}',
    replacement: ' AND ${UNSETTLED}',
    why: 'only who holds the fence writes, while it is unsettled too',
    test: fence(
      'mariadb > the owner is overtaken between his message and his settlement > while recovery is still at it, it is unknown to him',
    ),
  },
  {
    file: 'src/durable-call-run.ts',
    line: `if (await this.#isOurs()) throw cause;\n      return refused('fenced');`,
    replacement: 'throw cause;',
    why: 'what a hook throws after the fence was lost is no failure',
    test: fence(
      'postgres > the owner is overtaken between his message and his settlement > what he hears then writes nothing: refused',
    ),
  },
  {
    file: 'src/durable-call-run.ts',
    line: 'if (found?.answer !== undefined && !isTakenBack) return done(found.answer, { replayed: true });',
    why: 'the caller of an overtaken owner is given the true answer',
    test: fence(
      'mariadb > the owner is overtaken between his message and his settlement > with it, once, and its caller is given the true answer',
    ),
  },
  {
    file: 'src/durable-call-run.ts',
    line: `return { outcome: 'unknown', code: THREW };`,
    replacement: 'throw cause;',
    why: 'what throws on the way out may have had its effect, and is recorded as unknown',
    test: owner(
      'postgres > R4: an outcome that its owner does not hear > what throws on the way out is no less unknown',
    ),
  },
  {
    file: 'src/durable-call-run.ts',
    line: 'notAfterFinal: !compensating,',
    replacement: 'notAfterFinal: false,',
    why: 'the look-up that is final is not put off beyond the end',
    test: recovery(
      'postgres > R7: what recovery sends > its pauses double up to the longest, and do not go beyond the end',
    ),
  },
  {
    file: 'src/durable-call.ts',
    line: `tell({ kind: 'failed', call, cause }, seen);\n      return { outcome: 'unknown', code: NOT_RECORDED };`,
    replacement: 'throw cause;',
    why: 'after the intent is committed nothing looks as if it had not been done',
    test: failures(
      'postgres > a hook that throws > in the settlement: rolled back, told, not sent again, and recovered when the lease is over',
    ),
  },
  {
    file: 'src/durable-call.ts',
    line: 'return found === undefined ? claimed.refusal : outcomeOfCall(found, fingerprint);',
    replacement: 'return claimed.refusal;',
    why: 'the same request is told what became of it, and not that the subject is taken',
    test: owner(
      'postgres > a call that succeeds > its answer is replayed byte by byte, with the listed headers and no others',
    ),
  },
  {
    file: 'src/durable-call.ts',
    line: 'if (Number.isInteger(attempt) && attempt >= 1 && attempt <= MOST_ATTEMPTS) return;',
    replacement: 'return;',
    why: 'MySQL would round it, and recovery would show another token than the owner',
    test: failures('mariadb > misuse, before anything is written or sent > a claim of { attempt: 1.5 }'),
  },
  {
    file: 'src/durable-call-run.ts',
    line: `if (call.fingerprint !== fingerprint) return refused('payload-mismatch');`,
    why: 'another payload is not answered with this one’s answer',
    test: owner(
      'postgres > what makes a request another one > the same key with another payload is refused, while it runs and after',
    ),
  },
  {
    file: 'src/durable-call-run.ts',
    line: `return call.state === 'calling' && leaseLeftMs > 0`,
    replacement: 'return leaseLeftMs > 0',
    why: 'R4: once anybody but its owner is at it, it is unknown',
    test: fence(
      'postgres > R2: the owner stands still before he sends; recovery sends, and is declined > it is noted and only looked up from then on, until the effect is found',
    ),
  },
];

const recovering: readonly Mutant[] = [
  {
    file: 'src/postgres/durable-call.ts',
    line: 'AND lease_until <= (SELECT ${NOW})',
    why: 'nobody takes over while the owner’s lease lives',
    test: failures(
      'postgres > a hook that throws > in the settlement: rolled back, told, not sent again, and recovered when the lease is over',
    ),
  },
  {
    file: 'src/mysql/durable-call.ts',
    line: ' AND lease_until <= ${NOW}\n     ORDER',
    replacement: '\n     ORDER',
    why: 'nobody takes over while the owner’s lease lives',
    test: failures(
      'mariadb > a hook that throws > in the settlement: rolled back, told, not sent again, and recovered when the lease is over',
    ),
  },
  {
    file: 'src/durable-call.ts',
    line: 'const calls = await store.takeOver(name, most, times.leaseMs);',
    replacement: 'const calls = await store.takeOver(name, most, 0);',
    why: 'who recovers has a lease too, so that nobody is at it beside him',
    test: verdicts('postgres > of a call whose outcome nobody knows > whoever was at it is fenced off'),
  },
  {
    file: 'src/recovery-loop.ts',
    line: 'const free = this.#options.most - this.#underWay.size;',
    replacement: 'const free = this.#options.most;',
    why: 'an instance recovers no more at a time than it was told',
    test: loop('the loop > is at no more than so many, and one that takes long holds up none of the others'),
  },
  {
    file: 'src/recovery-loop.ts',
    line: '      this.#options.onFailed(cause);\n      return false;',
    replacement: '      throw cause;',
    why: 'a store that fails for a moment does not end recovery',
    test: loop('the loop > a look that fails is told, and the next one comes'),
  },
  {
    file: 'src/recovery-loop.ts',
    line: 'await Promise.all(this.#underWay);',
    why: 'close waits for what is under way',
    test: loop(
      'the loop > close waits for what it is at, and for a look that is under way, whose calls it still recovers',
    ),
  },
  {
    file: 'src/recovery-loop.ts',
    line: 'return recovering.length === free;',
    replacement: 'await Promise.all(recovering);\n      return recovering.length === free;',
    why: 'one that takes long holds up none of the others',
    test: loop('the loop > is at no more than so many, and one that takes long holds up none of the others'),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `case 'refused':\n      return { do: 'look-up-compensation', afterRefusal: true };`,
    replacement: `case 'refused':\n      return { do: 'end-compensation' };`,
    why: 'a refusal to undo it is no success',
    test: compensation(
      'postgres > one token for every try > after a refusal, and a look-up that shows it standing, the next try has the next one',
    ),
  },
  {
    file: 'src/durable-call-rules.ts',
    line: `return compensates ? { do: 'look-up-compensation', afterRefusal: false } : stuck('CANNOT_COMPENSATE');`,
    replacement: `return compensates ? { do: 'end-compensation' } : stuck('CANNOT_COMPENSATE');`,
    why: 'whoever takes over what is being undone does not know that it was',
    test: deaths('postgres > its owner dies > it can no longer be completed'),
  },
];

const together: readonly Mutant[] = [
  {
    file: 'src/durable-call-ids.ts',
    line: 'return ids.size === items.length && new Set(items.map(keyOf)).size === items.length;',
    replacement: 'return true;',
    why: 'two that are about the same are decided one after the other',
    test: optimistic(
      'nobody tries without reading for two that are about the same, nor while many are refused',
    ),
  },
  {
    file: 'src/sql-durable-call-claims.ts',
    line: 'this.#latest.refused > FEW ||',
    replacement: 'false ||',
    why: 'while many are refused, nobody tries without reading',
    test: optimistic(
      'nobody tries without reading for two that are about the same, nor while many are refused',
    ),
  },
  {
    file: 'src/sql-durable-call-claims.ts',
    line: 'if (recorded.has(id)) return knownCall(recorded.get(id));',
    replacement: '',
    why: 'a look finds who is on record, whatever his rows say by now',
    test: optimistic(
      'while most are refused > who is refused, and who replays, does not wait for a row that somebody else has',
    ),
  },
  {
    file: 'src/sql-durable-call-claims.ts',
    line: 'writes: [...this.#look.read(claims), find],',
    replacement: 'writes: [find, ...this.#look.read(claims)],',
    why: 'a look reads last who is on record',
    test: optimistic(
      'while most are refused > who is claimed while he is looked at is found on record, and is not told of his own rows',
    ),
  },
  {
    file: 'src/sql-durable-call-claims.ts',
    line: "throw new StoreError(cause.code, 'none', cause.message, { cause });",
    replacement: 'throw cause;',
    why: 'a look has no effect',
    test: optimistic('while most are refused > a look whose answer is lost has no effect'),
  },
  {
    file: 'src/sql-durable-call-groups.ts',
    line: 'if (looks && latest.refused >= MOST) {',
    replacement: 'if (looks && latest.refused > 1) {',
    why: 'while most are refused they are looked at without locks',
    test: optimistic(
      'while most are refused > who is refused, and who replays, does not wait for a row that somebody else has',
    ),
  },
  {
    file: 'src/sql-durable-call-groups.ts',
    line: 'if (told.value !== undefined) return told.value;',
    replacement: 'if (told.value !== undefined) return told.value; else return refused("already-done");',
    why: 'whom a look does not refuse is decided under the locks',
    test: optimistic(
      'while most are refused > of five who come for one that is free one claims it, and the others find it taken',
    ),
  },
  {
    file: 'src/postgres/durable-call-batch.ts',
    line: ' AND own.fence = given.fence AND',
    replacement: ' AND',
    why: 'who has lost his fence settles nothing, also without reading',
    test: optimistic('who has lost his fence settles nothing, and those beside him do'),
  },
  {
    file: 'src/postgres/durable-call-batch.ts',
    line: ' AND num_nulls(own.expires_at) = 1',
    why: 'what is settled is not settled once more',
    test: optimistic('a call that is settled is not completed once more under the same fence'),
  },
  {
    file: 'src/mysql/durable-call-batch.ts',
    line: '{ fence, expires_at: null },',
    replacement: '{ fence },',
    why: 'what is settled is not settled once more',
    test: optimistic('a call that is settled is not completed once more under the same fence', 'mariadb'),
  },
  {
    file: 'src/mysql/durable-call-batch.ts',
    line: '{ fence, expires_at: null },',
    replacement: '{ expires_at: null },',
    why: 'who has lost his fence settles nothing, also without reading',
    test: optimistic('who has lost his fence settles nothing, and those beside him do', 'mariadb'),
  },
  {
    file: 'src/sql-durable-call-claims.ts',
    line: 'this.#claimedInVain.add(item);',
    why: 'whose record is there after all is looked up',
    test: groups('an attempt that is on record is not claimed again, and spoils nobody else’s'),
  },
  {
    file: 'src/sql-durable-call-settlements.ts',
    line: `return waited ? refused('fenced') : HELD;`,
    replacement: 'return HELD;',
    why: 'a record that was waited for and is not there is gone',
    test: groups('whose record is gone has lost his fence, and is told so at once'),
  },
  {
    file: 'src/sql-durable-call-claims.ts',
    line: 'const calls = isLookedUp ? callsFrom(read.at(-1)) : nothingKnown.calls;',
    replacement: 'const calls = nothingKnown.calls;',
    why: 'who was looked up first is answered from his record',
    test: groups(
      'while most are refused all are looked up at once, and those who come for the first time are booked',
    ),
  },
  {
    file: 'src/sql-durable-call-claims.ts',
    line: 'if (calls.has(id)) return knownCall(calls.get(id));',
    why: 'a key that is known claims nothing, whatever it is for',
    test: groups('the same request, its key, and its parcel again, in one transaction: one is booked'),
  },
  {
    file: 'src/sql-durable-call-claims.ts',
    line: 'if (attempts.has(attempt)) throw new AttemptTaken(call);',
    why: 'an attempt that is on record is refused, and is no failure',
    test: groups('an attempt that is on record is not claimed again, and spoils nobody else’s'),
  },
  {
    file: 'src/sql-durable-call-settlements.ts',
    line: `if (fence !== item.fence) return refused('fenced');`,
    why: 'who has lost his fence settles nothing',
    test: groups('who has lost his fence settles nothing, and those beside him do'),
  },
  {
    file: 'src/sql-durable-call-settlements.ts',
    line: `const complete = (written: readonly SqlResult[]): readonly SqlStatement[] => {`,
    replacement:
      'const complete = (written: readonly SqlResult[]): readonly SqlStatement[] => { if (answers.length > 1) answers.length = 1;',
    why: 'each of a batch is answered',
    test: groups('twenty at once: one claim and one settlement for all of them, and each has his answer'),
  },
  {
    file: 'src/durable-call-run.ts',
    line: `if (shared !== undefined && shared.reason !== 'overloaded') throw notWritten(shared.reason);`,
    replacement: 'if (shared !== undefined) throw notWritten(shared.reason as never);',
    why: 'a settlement that finds too many waiting is written alone',
    test: groups('when too many wait, a settlement is written alone: its effect is there'),
  },
  {
    file: 'src/durable-call-run.ts',
    line: `if (shared !== undefined && shared.reason !== 'overloaded') throw notWritten(shared.reason);`,
    why: 'a row that somebody has for too long is not waited for twice',
    test: groups('who has the row for too long is told of: nothing is claimed, or recovery settles it'),
  },
];

/** Durable calls and their compensation. What their store does with its rows alone is in `durable-call-store.test.ts`. */
export const durableCallMutants: readonly Mutant[] = [
  ...rules,
  ...undoing,
  ...holding,
  ...recovering,
  ...together,
];
