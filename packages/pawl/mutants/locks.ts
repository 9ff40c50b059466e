import type { Mutant, NamedTest } from './mutant.ts';

const core = (name: string): NamedTest => ({ file: 'test/distributed-lock.test.ts', name });
const renewal = (name: string): NamedTest => ({ file: 'test/lease-renewal.test.ts', name });
const deadlines = (name: string): NamedTest => ({ file: 'test/deadlines.test.ts', name });

const CORE = 'src/distributed-lock.ts';
const LINE = 'src/lock-line.ts';
const HOLD = 'src/lock-hold.ts';
/** Locks over all processes: the line of a process, and what it holds. */
export const lockMutants: readonly Mutant[] = [
  {
    file: CORE,
    line: ` || key === ''`,
    why: 'a key that is empty would be everybody’s',
    test: core('what it is made with, and asked for > the key "" is refused, and nothing is asked for'),
  },
  {
    file: CORE,
    line: 'if (value > LONGEST_TIMER_MS)',
    replacement: 'if (false)',
    why: 'a timer that is set to more ends at once',
    test: core('what it is made with, and asked for > {"waitMs":2147483648} is refused'),
  },
  {
    file: CORE,
    line: 'requireMs({ leaseMs }, 1);',
    why: 'a lease of no length is over before the work begins',
    test: core('what it is made with, and asked for > {"leaseMs":0} is refused'),
  },
  {
    file: CORE,
    line: '        await turn.end();',
    why: 'the lock is given back when the work has ended, also by an error',
    test: core('the outcome is that of the work > what it throws; the lock is given back all the same'),
  },
  {
    file: CORE,
    line: 'return await work(turn);',
    replacement: 'return work(turn);',
    why: 'the lock is not given back before the work has ended',
    test: core(
      'those of one process > are served in the order of their coming, one at a time, each with a greater token',
    ),
  },
  {
    file: CORE,
    line: 'if (lines[key] === line) delete lines[key];',
    why: 'who comes when nobody has the key any more asks anew, and nothing is kept of it',
    test: core('those of one process > who wants the key when nobody has it any more asks anew'),
  },
  {
    file: CORE,
    line: 'if (closing !== undefined) return refused',
    replacement: 'if (false) return refused',
    why: 'who comes after the end finds it closed',
    test: core('closing > refuses who comes later; the store is not asked'),
  },
  {
    file: CORE,
    line: 'closing ??= close();',
    replacement: 'closing = close();',
    why: 'the store is closed once',
    test: core('closing > twice closes the store once'),
  },
  {
    file: CORE,
    line: 'for (const line of Object.values(lines)) line.dismiss();',
    why: 'nobody waits for what is closed',
    test: core('closing > refuses who waits, waits until their places are given up, and closes the store'),
  },
  {
    file: CORE,
    line: 'if (underWay > 0) await idle.promise;',
    why: 'the store is not closed under those who hold a lock',
    test: core('closing > waits for those who hold a lock, and serves nobody after them'),
  },
  {
    file: LINE,
    line: 'if (waitMs === 0 && this.#begun) return Promise.resolve(undefined);',
    why: 'who does not want to wait does not wait for his own process either',
    test: core('who does not want to wait > is refused at once where somebody of his process is before him'),
  },
  {
    file: LINE,
    line: 'if (!this.#begun) this.#queue();',
    replacement: 'this.#queue();',
    why: 'a process asks once for all',
    test: core(
      'who waits > gives nobody else’s place up: those of one process share one, until the last has gone',
    ),
  },
  {
    file: LINE,
    line: 'refused: (after) => resolve(after?.then(() => undefined)),',
    replacement: 'refused: () => resolve(undefined),',
    why: 'who is refused holds nothing any more',
    test: core(
      'who waits > is refused at the end of his patience, and not before; by then his place is given up',
    ),
  },
  {
    file: LINE,
    line: 'if (!hold.mayServe()) return this.#giveAway(hold);',
    why: 'the other processes have their turn',
    test: core('those of one process > are sixteen by one grant; then they stand behind the other processes'),
  },
  {
    file: LINE,
    line: 'if (this.#settings.times.waitMs > 0) return this.#await(hold.releaseAndQueue());',
    replacement: 'return this.#await(hold.releaseAndQueue());',
    why: 'who does not want to wait has no end of his patience that would end it',
    test: core(
      'who does not want to wait > waits for no second grant either, where the first has come too late',
    ),
  },
  {
    file: LINE,
    line: 'wait: times.waitMs > 0,',
    replacement: 'wait: true,',
    why: 'who does not want to wait does not stand in the queue',
    test: core('who does not want to wait > says so to the store, and is refused where the lock is not free'),
  },
  {
    file: LINE,
    line: 'if (this.#place !== place) return;',
    why: 'a lock is given back once, and its holder is not told of a loss',
    test: core('closing > in the moment of a grant gives it back once, and tells of no loss'),
  },
  {
    file: LINE,
    line: `        this.#over();
        this.#dismiss((waiter) => waiter.failed(error));`,
    replacement: '        this.#dismiss((waiter) => waiter.failed(error));',
    why: 'one failure is not that of all who come later',
    test: core(
      'who waits > hears with all others that the store could not be asked for the first time; the next asks anew',
    ),
  },
  {
    file: LINE,
    line: 'if (!hold.isFresh()) await hold.confirm();',
    why: 'work does not begin under a lease that may be over',
    test: core('a grant of which the process hears late > is renewed before the work begins'),
  },
  {
    file: LINE,
    line: `    this.#delete(waiter);
    const trouble`,
    replacement: '    const trouble',
    why: 'who has given up is not served',
    test: core('who waits > and has given up is not served when the lock comes'),
  },
  {
    file: LINE,
    line: 'this.#waiters.length === 0 ? this.#leave() : undefined',
    replacement: 'this.#leave()',
    why: 'the place is that of all who wait',
    test: core(
      'who waits > gives nobody else’s place up: those of one process share one, until the last has gone',
    ),
  },
  {
    file: LINE,
    line: 'if (trouble === undefined) waiter.refused(left);\n    else waiter.failed(trouble);',
    replacement: 'waiter.refused(left);',
    why: 'a store that is down is not a lock that is held',
    test: core(
      'who waits > is told of the failure, where the store could not be asked when his patience ended',
    ),
  },
  {
    file: LINE,
    line: 'if (place === undefined) return this.#begins;',
    replacement: 'if (place === undefined) return undefined;',
    why: 'the store is not closed before the lock is given back that nobody wanted any more',
    test: core('closing > waits until a late grant that nobody wants any more is given back'),
  },
  {
    file: HOLD,
    line: 'this.#watched ??= this.#settings.watch.add(this);',
    why: 'a lease is renewed, though nobody looks at the signal',
    test: core(
      'the lease > is renewed three times in its length while the work goes on, also if nobody looks at the signal',
    ),
  },
  {
    file: HOLD,
    line: 'if (!this.#lost && !this.#ended) this.#renewed().lose',
    replacement: 'this.#renewed().lose',
    why: 'what becomes of the store’s session later is nobody’s loss',
    test: core('the signal > of work that has ended renews nothing, and is not aborted by what comes later'),
  },
  {
    file: HOLD,
    line: `if (!this.#lost && !this.#ended) this.#renewed().lose('the store has told so', { cause });`,
    why: 'who holds a session that has ended is told at once',
    test: core('a loss > of which the store tells by itself is told once, with its cause'),
  },
  {
    file: HOLD,
    line: '<= this.#settings.times.leaseMs / RENEWALS_PER_LEASE;',
    replacement: '<= this.#settings.times.leaseMs;',
    why: 'a lease that is nearly over is not handed over',
    test: core('those of one process > hand the lock over as long as no renewal is due, and no longer'),
  },
  {
    file: HOLD,
    line: 'if (await this.#grant.renew()) this.#leasedAtMs = sentMs;',
    replacement: 'if (await this.#grant.renew()) this.#leasedAtMs = performance.now();',
    why: 'the answer may have taken as long as the lease',
    test: core(
      'a grant of which the process hears late > counts from when the renewal was sent, however long its answer took',
    ),
  },
  {
    file: HOLD,
    line: ' && this.#hasServed',
    why: 'nobody is told of the loss of what nobody had',
    test: core(
      'a loss > of a lock that has served nobody > and that has ended by the time that it is given back is not told',
    ),
  },
  {
    file: HOLD,
    line: `if (this.#hasServed) this.#tell('not-released'`,
    replacement: `this.#tell('not-released'`,
    why: 'nobody is told that his work has ended who had none',
    test: core(
      'a loss > of a lock that has served nobody > and that cannot be given back is not told either',
    ),
  },
  {
    file: HOLD,
    line: 'renewal.look();',
    why: 'who looks after a standstill does not go on as if nothing had been',
    test: core(
      'the lease > counts as lost after one in the middle of the work, also to who has looked before, and before a timer runs',
    ),
  },
  {
    file: HOLD,
    line: 'this.#renewed().catchUp();',
    replacement: 'this.#renewed();',
    why: 'what was not renewed in time for a standstill is renewed before anything else is done',
    test: core(
      'the lease > is renewed at once after one, where nobody has looked: what is still held is not told of as lost',
    ),
  },
  {
    file: HOLD,
    line: '!this.#lost && this.#tokensTaken',
    replacement: 'this.#tokensTaken',
    why: 'what is lost is not handed over',
    test: core('those of one process > do not hand over what is lost'),
  },
  {
    file: HOLD,
    line: 'this.#tokensTaken < TOKENS_PER_GRANT && ',
    why: 'the tokens of a grant are sixteen; the next is another’s',
    test: core('those of one process > are sixteen by one grant; then they stand behind the other processes'),
  },
  {
    file: HOLD,
    line: 'this.#grant.firstToken + this.#tokensTaken++',
    replacement: 'this.#grant.firstToken',
    why: 'each piece of work has a token of its own',
    test: core(
      'those of one process > are served in the order of their coming, one at a time, each with a greater token',
    ),
  },
  {
    file: HOLD,
    line: 'claimedAtMs: this.#leasedAtMs,',
    replacement: 'claimedAtMs: performance.now(),',
    why: 'a standstill before the first look at the signal may have cost the lease',
    test: core('the lease > counts as lost after one that was longer: the signal says so to who looks first'),
  },
  {
    file: HOLD,
    line: 'if (this.#ended) this.#renewal.stop();',
    why: 'a lock that was given back is not renewed',
    test: core('the signal > of work that has ended renews nothing, and is not aborted by what comes later'),
  },
  {
    file: HOLD,
    line: '    this.#renewal?.stop();',
    why: 'a lock that was given back is not renewed',
    test: core(
      'the lease > is renewed three times in its length while the work goes on, also if nobody looks at the signal',
    ),
  },
  {
    file: HOLD,
    line: 'if (!(await released)) this.#tellOfLoss',
    replacement: 'if (await released) return;\n      if (false) this.#tellOfLoss',
    why: 'who finds at the end that he was not alone is told',
    test: core('a loss > that is found when the lock is given back is told'),
  },
  {
    file: HOLD,
    line: `this.#tell('not-released', cause);`,
    replacement: 'throw cause;',
    why: 'the outcome of the work stands, whatever becomes of the lock',
    test: core('the outcome is that of the work > also where the lock cannot be given back, which is told'),
  },
  {
    file: HOLD,
    line: 'if (!this.#lost && this.#hasServed)',
    replacement: 'if (this.#hasServed)',
    why: 'a loss is told once',
    test: core('a loss > that a renewal finds is told once, by the signal and the listener'),
  },
  {
    file: CORE,
    line: 'onEvent: quiet(options.onEvent ?? (() => undefined)),',
    replacement: 'onEvent: options.onEvent ?? (() => undefined),',
    why: 'a listener that fails does not keep the signal from being aborted',
    test: core('a loss > told to a listener that throws changes nothing'),
  },
  {
    file: 'src/deadlines.ts',
    line: 'first === undefined ? undefined : this.#lookAfter(Math.max(0, this.#leftMs(first)));',
    replacement: 'undefined;',
    why: 'there is somebody after the first',
    test: deadlines('each has the whole limit, whenever it came'),
  },
  {
    file: 'src/deadlines.ts',
    line: 'if (this.#leftMs(first) > 0) break;',
    why: 'who came later has his whole time',
    test: deadlines('each has the whole limit, whenever it came'),
  },
  {
    file: 'src/deadlines.ts',
    line: 'first === undefined ? undefined',
    replacement: 'first === undefined ? this.#timer',
    why: 'who comes when all others have gone is watched over',
    test: deadlines('what comes when all before has been told, or has ended, has its own limit'),
  },
  {
    file: 'src/deadlines.ts',
    line: 'if (watched.ended) return;',
    why: 'what has ended is taken out of the list once',
    test: deadlines('what has been told, and is deleted then, takes nobody else with it'),
  },
  {
    file: 'src/deadlines.ts',
    line: '    } finally {',
    replacement: '    } catch (error) {\n      throw error;\n    }\n    {',
    why: 'one that cannot be told does not end the deadlines of all others',
    test: deadlines('one that fails to be told keeps no other from it'),
  },
  {
    file: 'src/lease-renewal.ts',
    line: '    this.catchUp();\n',
    why: 'after a standstill the store decides, whichever timer runs first',
    test: renewal(
      'after a standstill the end waits for a renewal that is due and was not sent: one that succeeds',
    ),
  },
  {
    file: 'src/lease-renewal.ts',
    line: 'performance.now() >= this.#leaseEndMs && ',
    why: 'what is not over is not lost',
    test: renewal(
      'who looks after a standstill is told before any timer runs; the lease is renewed all the same',
    ),
  },
  {
    file: 'src/lease-renewal.ts',
    line: 'if (this.#stopped || this.#reason !== undefined) return;',
    replacement: 'if (this.#reason !== undefined) return;',
    why: 'who looks at the signal of work that is over has lost nothing',
    test: renewal('who looks while he is finishing, or when it is over, is told of nothing'),
  },
];
