// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are lines of code.
import type { Mutant, NamedTest } from './mutant.ts';

const core = (name: string): NamedTest => ({ file: 'test/distributed-lock.test.ts', name });
const renewal = (name: string): NamedTest => ({ file: 'test/lease-renewal.test.ts', name });
const deadlines = (name: string): NamedTest => ({ file: 'test/deadlines.test.ts', name });
const redis = (name: string): NamedTest => ({ file: 'test/lock-redis.test.ts', name });
const script = (name: string): NamedTest => ({ file: 'test/lock-script.test.ts', name });
const subscribers = (name: string): NamedTest => ({ file: 'test/redis-subscribers.test.ts', name });
const port = (name: string): NamedTest => ({ file: 'test/redis-port.test.ts', name });
const memory = (name: string): NamedTest => ({ file: 'test/lock-memory-store.test.ts', name });
const sql = (name: string): NamedTest => ({ file: 'test/lock-sql-store.test.ts', name });
const fencing = (name: string): NamedTest => ({ file: 'test/fencing.test.ts', name });

const CORE = 'src/distributed-lock.ts';
const coreMutants: readonly Mutant[] = [
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
    line: '          await turn.end();',
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
    file: CORE,
    line: 'if (waitMs === 0 && this.#begun) return Promise.resolve(undefined);',
    why: 'who does not want to wait does not wait for his own process either',
    test: core('who does not want to wait > is refused at once where somebody of his process is before him'),
  },
  {
    file: CORE,
    line: 'if (!this.#begun) this.#queue();',
    replacement: 'this.#queue();',
    why: 'a process asks once for all',
    test: core(
      'who waits > gives nobody else’s place up: those of one process share one, until the last has gone',
    ),
  },
  {
    file: CORE,
    line: 'refused: (after) => resolve(after?.then(() => undefined)),',
    replacement: 'refused: () => resolve(undefined),',
    why: 'who is refused holds nothing any more',
    test: core(
      'who waits > is refused at the end of his patience, and not before; by then his place is given up',
    ),
  },
  {
    file: CORE,
    line: 'if (!hold.mayServe()) return this.#giveAway(hold);',
    why: 'the other processes have their turn',
    test: core('those of one process > are sixteen by one grant; then they stand behind the other processes'),
  },
  {
    file: CORE,
    line: 'if (this.#settings.times.waitMs > 0) return this.#await(hold.releaseAndQueue());',
    replacement: 'return this.#await(hold.releaseAndQueue());',
    why: 'who does not want to wait has no end of his patience that would end it',
    test: core(
      'who does not want to wait > waits for no second grant either, where the first has come too late',
    ),
  },
  {
    file: CORE,
    line: 'wait: times.waitMs > 0,',
    replacement: 'wait: true,',
    why: 'who does not want to wait does not stand in the queue',
    test: core('who does not want to wait > says so to the store, and is refused where the lock is not free'),
  },
  {
    file: CORE,
    line: 'if (this.#place !== place) return;',
    why: 'a lock is given back once, and its holder is not told of a loss',
    test: core('closing > in the moment of a grant gives it back once, and tells of no loss'),
  },
  {
    file: CORE,
    line: `        this.#over();
        this.#dismiss((waiter) => waiter.failed(error));`,
    replacement: '        this.#dismiss((waiter) => waiter.failed(error));',
    why: 'one failure is not that of all who come later',
    test: core(
      'who waits > hears with all others that the store could not be asked for the first time; the next asks anew',
    ),
  },
  {
    file: CORE,
    line: 'if (!hold.isFresh()) await hold.confirm();',
    why: 'work does not begin under a lease that may be over',
    test: core('a grant of which the process hears late > is renewed before the work begins'),
  },
  {
    file: CORE,
    line: `    this.#delete(waiter);
    const trouble`,
    replacement: '    const trouble',
    why: 'who has given up is not served',
    test: core('who waits > and has given up is not served when the lock comes'),
  },
  {
    file: CORE,
    line: 'this.#waiters.length === 0 ? this.#leave() : undefined',
    replacement: 'this.#leave()',
    why: 'the place is that of all who wait',
    test: core(
      'who waits > gives nobody else’s place up: those of one process share one, until the last has gone',
    ),
  },
  {
    file: CORE,
    line: 'if (trouble === undefined) waiter.refused(left);\n    else waiter.failed(trouble);',
    replacement: 'waiter.refused(left);',
    why: 'a store that is down is not a lock that is held',
    test: core(
      'who waits > is told of the failure, where the store could not be asked when his patience ended',
    ),
  },
  {
    file: CORE,
    line: 'if (place === undefined) return this.#begins;',
    replacement: 'if (place === undefined) return undefined;',
    why: 'the store is not closed before the lock is given back that nobody wanted any more',
    test: core('closing > waits until a late grant that nobody wants any more is given back'),
  },
  {
    file: CORE,
    line: 'this.#watched ??= this.#settings.watch.add(this);',
    why: 'a lease is renewed, though nobody looks at the signal',
    test: core(
      'the lease > is renewed three times in its length while the work goes on, also if nobody looks at the signal',
    ),
  },
  {
    file: CORE,
    line: 'if (!this.#lost && !this.#ended) this.#renewed().lose',
    replacement: 'this.#renewed().lose',
    why: 'what becomes of the store’s session later is nobody’s loss',
    test: core('the signal > of work that has ended renews nothing, and is not aborted by what comes later'),
  },
  {
    file: CORE,
    line: `if (!this.#lost && !this.#ended) this.#renewed().lose('the store has told so', { cause });`,
    why: 'who holds a session that has ended is told at once',
    test: core('a loss > of which the store tells by itself is told once, with its cause'),
  },
  {
    file: CORE,
    line: '<= this.#settings.times.leaseMs / RENEWALS_PER_LEASE;',
    replacement: '<= this.#settings.times.leaseMs;',
    why: 'a lease that is nearly over is not handed over',
    test: core('those of one process > hand the lock over as long as no renewal is due, and no longer'),
  },
  {
    file: CORE,
    line: 'if (await this.#grant.renew()) this.#leasedAtMs = sentMs;',
    replacement: 'if (await this.#grant.renew()) this.#leasedAtMs = performance.now();',
    why: 'the answer may have taken as long as the lease',
    test: core(
      'a grant of which the process hears late > counts from when the renewal was sent, however long its answer took',
    ),
  },
  {
    file: CORE,
    line: ' && this.#hasServed',
    why: 'nobody is told of the loss of what nobody had',
    test: core(
      'a loss > of a lock that has served nobody > and that has ended by the time that it is given back is not told',
    ),
  },
  {
    file: CORE,
    line: `if (this.#hasServed) this.#tell('not-released'`,
    replacement: `this.#tell('not-released'`,
    why: 'nobody is told that his work has ended who had none',
    test: core(
      'a loss > of a lock that has served nobody > and that cannot be given back is not told either',
    ),
  },
  {
    file: CORE,
    line: 'renewal.look();',
    why: 'who looks after a standstill does not go on as if nothing had been',
    test: core(
      'the lease > counts as lost after one in the middle of the work, also to who has looked before, and before a timer runs',
    ),
  },
  {
    file: CORE,
    line: 'this.#renewed().catchUp();',
    replacement: 'this.#renewed();',
    why: 'what was not renewed in time for a standstill is renewed before anything else is done',
    test: core(
      'the lease > is renewed at once after one, where nobody has looked: what is still held is not told of as lost',
    ),
  },
  {
    file: CORE,
    line: '!this.#lost && this.#tokensTaken',
    replacement: 'this.#tokensTaken',
    why: 'what is lost is not handed over',
    test: core('those of one process > do not hand over what is lost'),
  },
  {
    file: CORE,
    line: 'this.#tokensTaken < TOKENS_PER_GRANT && ',
    why: 'the tokens of a grant are sixteen; the next is another’s',
    test: core('those of one process > are sixteen by one grant; then they stand behind the other processes'),
  },
  {
    file: CORE,
    line: 'this.#grant.firstToken + this.#tokensTaken++',
    replacement: 'this.#grant.firstToken',
    why: 'each piece of work has a token of its own',
    test: core(
      'those of one process > are served in the order of their coming, one at a time, each with a greater token',
    ),
  },
  {
    file: CORE,
    line: 'claimedAtMs: this.#leasedAtMs,',
    replacement: 'claimedAtMs: performance.now(),',
    why: 'a standstill before the first look at the signal may have cost the lease',
    test: core('the lease > counts as lost after one that was longer: the signal says so to who looks first'),
  },
  {
    file: CORE,
    line: 'if (this.#ended) this.#renewal.stop();',
    why: 'a lock that was given back is not renewed',
    test: core('the signal > of work that has ended renews nothing, and is not aborted by what comes later'),
  },
  {
    file: CORE,
    line: '    this.#renewal?.stop();',
    why: 'a lock that was given back is not renewed',
    test: core(
      'the lease > is renewed three times in its length while the work goes on, also if nobody looks at the signal',
    ),
  },
  {
    file: CORE,
    line: 'if (!(await released)) this.#tellOfLoss',
    replacement: 'if (await released) return;\n      if (false) this.#tellOfLoss',
    why: 'who finds at the end that he was not alone is told',
    test: core('a loss > that is found when the lock is given back is told'),
  },
  {
    file: CORE,
    line: `this.#tell('not-released', cause);`,
    replacement: 'throw cause;',
    why: 'the outcome of the work stands, whatever becomes of the lock',
    test: core('the outcome is that of the work > also where the lock cannot be given back, which is told'),
  },
  {
    file: CORE,
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
    line: 'if (this.#stopped || this.#lost.signal.aborted) return;',
    replacement: 'if (this.#lost.signal.aborted) return;',
    why: 'who looks at the signal of work that is over has lost nothing',
    test: renewal('who looks while he is finishing, or when it is over, is told of nothing'),
  },
];

const MODEL = script(
  'whatever comes in whatever order: one holder at a time, in the order of their coming, tokens that grow',
);
const LUA = 'src/redis/lock-script.ts';
const luaMutants: readonly Mutant[] = [
  {
    file: LUA,
    line: 'last = math.max(last, now) + ${TOKENS_PER_GRANT}',
    replacement: 'last = now + ${TOKENS_PER_GRANT}',
    why: 'tokens grow, also when the clock is put back',
    test: redis(
      'where nobody else wants the lock > tokens go on from the last one, when the clock of the server is behind it',
    ),
  },
  {
    file: LUA,
    line: `redis.call('EXISTS', queue) == 1 and '\${WANTED}' or '\${HELD}'`,
    replacement: `'\${HELD}'`,
    why: 'who is given a lock that others want gives it on',
    test: MODEL,
  },
  {
    file: LUA,
    line: `redis.call('PSETEX', lock, itsLease,`,
    replacement: `redis.call('PSETEX', lock, lease,`,
    why: 'a lock is leased for as long as its holder asked for',
    test: script('one step > of a short lease does not end the queue before those who wait in it'),
  },
  {
    file: LUA,
    line: `if redis.call('PTTL', key) < tonumber(lease) then redis.call('PEXPIRE', key, lease) end`,
    replacement: `redis.call('PEXPIRE', key, lease)`,
    why: 'a short lease does not end the queue of others',
    test: script('one step > of a short lease does not end the queue before those who wait in it'),
  },
  {
    file: LUA,
    line: '    keepFor(queue)\n',
    replacement: '\n',
    why: 'nothing is kept of who has died',
    test: script('one step > keeps nothing for longer than a lease'),
  },
  {
    file: LUA,
    line: `    redis.call('ZADD', queue, 'NX', `,
    replacement: `    redis.call('ZADD', queue, `,
    why: 'who shows that he is still there keeps his place',
    test: MODEL,
  },
  {
    file: LUA,
    line: `if owner ~= '' then redis.call('SETRANGE', lock, \${MARK_AT - 1}, '\${WANTED}') end`,
    why: 'who gives a lock back learns that somebody waits for it',
    test: MODEL,
  },
  {
    file: LUA,
    line: 'if untilUs and tonumber(untilUs) > now and (',
    replacement: 'if untilUs and (',
    why: 'who has not been heard of for a lease is passed over',
    test: MODEL,
  },
  {
    file: LUA,
    line: `        redis.call('HDEL', waiting, place)
        if untilUs`,
    replacement: '        if untilUs',
    why: 'nothing is kept of who has been served',
    test: MODEL,
  },
  {
    file: LUA,
    line: `if how == 'told' and place ~= asks then`,
    replacement: `if how == 'told' then`,
    why: 'who learns it by his answer is sent no message',
    test: MODEL,
  },
  {
    file: LUA,
    line: `how == 'polls' or `,
    why: 'who polls has his turn like everybody else',
    test: MODEL,
  },
  {
    file: LUA,
    line: 'not polls and isHeard(place)',
    replacement: 'not polls',
    why: 'who is not connected is granted the lock all the same, and looks',
    test: MODEL,
  },
  {
    file: LUA,
    line: 'string.sub(step, 6)',
    replacement: `'take'`,
    why: 'who has had his turns stands in the queue again',
    test: MODEL,
  },
  {
    file: LUA,
    line: ` and (how == 'polls' or place == asks or isHeard(place))`,
    why: 'nobody waits for a lease of somebody who does not hear that it is his turn',
    test: redis(
      'while somebody holds the lock > a waiter whose process has died is passed over at once, however long the lease',
    ),
  },
  {
    file: LUA,
    line: `        redis.call('PEXPIRE', lock, lease)
        heard`,
    replacement: '        heard',
    why: 'who asks again after a lost answer has a whole lease',
    test: script('one step > asked again answers the same, and leases the lock anew'),
  },
  {
    file: LUA,
    line: `      if owner == place then
        redis.call`,
    replacement: `      if false then
        redis.call`,
    why: 'who asks again after a lost answer has what he has been granted',
    test: script('one step > asked again answers the same, and leases the lock anew'),
  },
  {
    file: LUA,
    line: `if owner == '' then handOver(place) end`,
    why: 'who comes when the lock is free is behind those who wait',
    test: MODEL,
  },
  {
    file: LUA,
    line: `    redis.call('ZREM', queue, place)\n`,
    replacement: '\n',
    why: 'who leaves the queue leaves it',
    test: MODEL,
  },
  {
    file: LUA,
    line: `      if owner == place then
        owner = ''
        return 1`,
    replacement: `      if owner ~= '' then
        owner = ''
        return 1`,
    why: 'nobody gives back what somebody else holds',
    test: redis(
      'a holder that was away for longer than its lease does not give back the lock of its successor',
    ),
  },
  {
    file: LUA,
    line: `      handOver('')\n`,
    replacement: '\n',
    why: 'who gives a lock back gives it to who is next',
    test: redis('while somebody holds the lock > who waits does not ask again: he is told'),
  },
  {
    file: LUA,
    line: `if owner == '' then \${SET_FREE} end`,
    why: 'a lock that nobody waits for is free at once',
    test: MODEL,
  },
  {
    file: LUA,
    line: `if type(marked) == 'table' then redis.call('DEL', lock) end`,
    why: 'a server without memory lets go all the same',
    test: redis(
      'when Redis fails > without memory, it refuses to lock, and still takes back what was locked',
    ),
  },
  {
    file: LUA,
    line: ' and held < nowText then',
    replacement: ' then',
    why: 'tokens grow, also when the clock is put back',
    test: redis(
      'where nobody else wants the lock > tokens go on from the last one, when the clock of the server is behind it',
    ),
  },
  {
    file: LUA,
    line: `elseif mark == \${byte(HELD)} and step == 'free'`,
    replacement: `elseif step == 'free'`,
    why: 'a lock that somebody waits for is not set free, but given to him',
    test: MODEL,
  },
  {
    file: LUA,
    line: `step == 'free' and string.sub(held, \${OWNER_AT}) == place then`,
    replacement: `step == 'free' then`,
    why: 'nobody gives back what somebody else holds',
    test: script('one step > gives back what its holder has, and nothing of anybody else’s'),
  },
  {
    file: LUA,
    line: `local ours = held and mark ~= \${byte(FREE)} and string.sub(held, \${OWNER_AT}) == place`,
    replacement: `local ours = held and string.sub(held, \${OWNER_AT}) == place`,
    why: 'what was given back is not held, though it still shows whose it was',
    test: script('one step > renews for its holder, and for nobody else'),
  },
  {
    file: LUA,
    line: ` and string.sub(held, \${OWNER_AT}) == place
    answer = ours`,
    replacement: '\n    answer = ours',
    why: 'nobody renews what somebody else holds',
    test: script('one step > renews for its holder, and for nobody else'),
  },
  {
    file: LUA,
    line: `answer = ours and redis.call('PEXPIRE', lock, lease) or 0`,
    replacement: 'answer = ours and 1 or 0',
    why: 'a lock that is renewed has another lease',
    test: script('one step > renews for its holder, and for nobody else'),
  },
  {
    file: LUA,
    line: ` and redis.call('EXISTS', lock .. ':queue') == 0 then`,
    replacement: ' then',
    why: 'a lease that has ended goes to who has waited longest',
    test: MODEL,
  },
  {
    file: LUA,
    line: `local held = redis.pcall('GET', lock)`,
    replacement: `local held = redis.call('GET', lock)`,
    why: 'a key that holds something else fails its own caller alone',
    test: redis(
      'where nobody else wants the lock > a key that holds something else fails its own caller alone',
    ),
  },
  {
    file: LUA,
    line: `if (typeof answer === 'string') reject(classifyErrorReply(new Error(answer), 'EVAL'));\n      else `,
    why: 'a step that failed has not been taken',
    test: redis(
      'where nobody else wants the lock > what goes to the server together with such a key is answered as if it had gone alone',
    ),
  },
  {
    file: LUA,
    line: 'if (this.#pending.length === 1) process.nextTick(() => this.#send());',
    replacement: 'this.#send();',
    why: 'what many ask for at once is one round trip',
    test: redis('where nobody else wants the lock > what many ask for at once goes to the server together'),
  },
];

const PLACE = 'src/redis/distributed-lock.ts';
const placeMutants: readonly Mutant[] = [
  {
    file: PLACE,
    line: 'for (const place of [...this.#places.values()]) place.lookNow();',
    why: 'what was published while nobody listened is looked for',
    test: redis(
      'while somebody holds the lock > a listening connection that is cut is opened again, and what was missed is looked for at once',
    ),
  },
  {
    file: PLACE,
    line: 'steps.take(step).catch(() => undefined);',
    why: 'a lock that is granted to who is not there any more goes on to the next',
    test: redis(
      'who waits > in a place that is not known any more holds nothing: what is granted to it goes on to the next',
    ),
  },
  {
    file: PLACE,
    line: 'if (this.#waiting) this.#grant(firstToken,',
    replacement: 'if (false) this.#grant(firstToken,',
    why: 'who waits is told, and does not ask',
    test: redis('while somebody holds the lock > who waits does not ask again: he is told'),
  },
  {
    file: PLACE,
    line: 'this.#queuedAtMs ?? performance.now());',
    replacement: 'performance.now());',
    why: 'a message may have been on its way for longer than the lease',
    test: redis(
      'while somebody holds the lock > a message of a grant that has ended since is not taken for another one',
    ),
  },
  {
    file: PLACE,
    line: `if (how !== 'take' && performance.now() - (this.#queuedAtMs ?? sentMs) < this.#ask.leaseMs)`,
    replacement: `if (how !== 'take')`,
    why: 'a grant may have come and gone while nothing could be asked',
    test: redis(
      'while somebody holds the lock > a message of a grant that has ended since is not taken for another one',
    ),
  },
  {
    file: PLACE,
    line: 'await this.#giveBack().catch(() => undefined);',
    why: 'who gives up waiting leaves nothing behind',
    test: redis(
      'while somebody holds the lock > who gives up waiting leaves nothing behind, and nobody waits longer for it',
    ),
  },
  {
    file: PLACE,
    line: `if (error.effect === 'unknown') void this.leave();`,
    replacement: 'if (false) void this.leave();',
    why: 'a lock whose grant was not heard of is given back',
    test: redis(
      'when Redis fails > an acquisition whose answer is lost is not held by nobody: it is given back when Redis can be asked',
    ),
  },
  {
    file: PLACE,
    line: 'if (heard === HEARD.granted && this.#told) this.#queue.expects(this);',
    why: 'a connection that is deaf is replaced',
    test: redis(
      'who was connected all the time > and hears nothing has his connection replaced, and is told again',
    ),
  },
  {
    file: PLACE,
    line: 'if (!this.#looking) this.#lookAfter(heard ? soonMs : Math.min(soonMs, UNHEARD_LOOK_MS));',
    why: 'a message that is lost costs a lease at most',
    test: redis('while somebody holds the lock > a message that is lost costs a lease at most'),
  },
  {
    file: PLACE,
    line: 'Math.min(leftMs + 1, this.#ask.leaseMs / LOOKS_PER_LEASE)',
    replacement: 'leftMs + 1',
    why: 'who waits shows that he is still there',
    test: redis('who waits > for longer than a lease keeps his place'),
  },
  {
    file: PLACE,
    line: `    if (this.#asked) {
      this.#queue.add(this);`,
    replacement: `    if (false) {
      this.#queue.add(this);`,
    why: 'who waits goes on waiting while Redis is away',
    test: redis(
      'when Redis fails > killed and started again empty: who waits has his turn, and the holder is told',
    ),
  },
  {
    file: PLACE,
    line: 'if (performance.now() < endMs) setTimeout(again, UNHEARD_LOOK_MS).unref();',
    why: 'a lock is given back as soon as it can be',
    test: redis(
      'who was connected all the time > and whose lock could not be given back gives it back as soon as it can be, not at the end of the lease',
    ),
  },
  {
    file: PLACE,
    line: 'if (this.#left && taken > 0) void this.leave();',
    why: 'what is granted after its place was left is given back',
    test: redis(
      'who was connected all the time > and whose request came late, when he had given up, keeps nothing of it',
    ),
  },
];

const subscriberMutants: readonly Mutant[] = [
  {
    file: 'src/adapters/ioredis.ts',
    line: 'if (client.options.autoResubscribe !== false) {',
    replacement: 'if (false) {',
    why: 'a promise that nobody holds ends the process when it is rejected',
    test: subscribers('an ioredis client that subscribes again by itself is refused'),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: 'for (const [channel, listener] of listeners) listen(channel, listener);',
    why: 'it listens again when the connection is back',
    test: subscribers(
      'the ioredis subscriber > tells of a connection that was cut, and when it listens again, and hears each message once',
    ),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: 'for (const listener of listeners.values()) listener.lost();',
    why: 'who does not hear any more must know it',
    test: subscribers(
      'the ioredis subscriber > tells of a connection that was cut, and when it listens again, and hears each message once',
    ),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: 'if (on === connection && listeners.get(channel) === listener) listener.listening();',
    replacement: 'if (listeners.get(channel) === listener) listener.listening();',
    why: 'the answer of a connection that is lost says nothing of the next',
    test: subscribers(
      'the ioredis subscriber, when an answer comes late > over a connection that has been lost meanwhile, it does not listen by that',
    ),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: '() => undefined, // The connection is lost',
    replacement: 'undefined, // The connection is lost',
    why: 'a rejection that nobody holds ends the process',
    test: subscribers(
      'the ioredis subscriber > tries again when the connection breaks while it subscribes (request-lost), and no promise is left alone',
    ),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: `          listeners.delete(channel);`,
    why: 'who has stopped is told nothing more',
    test: subscribers(
      'the ioredis subscriber, when an answer comes late > to who has stopped, he is not told; nor that the connection is lost',
    ),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: 'client.unsubscribe(channel).catch(() => undefined);',
    why: 'the server forgets who has stopped',
    test: subscribers(
      'the ioredis subscriber > that is stopped is told nothing more, and the server forgets it; others go on',
    ),
  },
  {
    file: 'src/adapters/ioredis.ts',
    line: `if (client.status !== 'ready') return;`,
    why: 'a client that nobody has connected is not connected to be told of an end',
    test: subscribers('the ioredis subscriber > that is stopped before it is connected never listens'),
  },
  {
    file: 'src/adapters/node-redis.ts',
    line: 'for (const channel of listeners.keys()) listen(channel);',
    why: 'it says that it listens again when the connection is back',
    test: subscribers(
      'the node-redis subscriber > tells of a connection that was cut, and when it listens again, and hears each message once',
    ),
  },
  {
    file: 'src/adapters/node-redis.ts',
    line: `client.on('reconnecting', lost);`,
    why: 'who does not hear any more must know it',
    test: subscribers(
      'the node-redis subscriber > tells of a connection that was cut, and when it listens again, and hears each message once',
    ),
  },
  {
    file: 'src/adapters/node-redis.ts',
    line: `client.on('end', lost);`,
    why: 'who will never hear again must know it',
    test: subscribers('a node-redis client that is closed for good is told of as lost'),
  },
  {
    file: 'src/adapters/node-redis.ts',
    line: 'if (on === connection && listeners.get(channel) === listener) listener.listening();',
    replacement: 'if (listeners.get(channel) === listener) listener.listening();',
    why: 'the answer of a connection that is lost says nothing of the next',
    test: subscribers(
      'the node-redis subscriber, when an answer comes late > over a connection that has been lost meanwhile, it does not listen by that',
    ),
  },
  {
    file: 'src/adapters/node-redis.ts',
    line: '() => undefined, // The connection is lost',
    replacement: 'undefined, // The connection is lost',
    why: 'a rejection that nobody holds ends the process',
    test: subscribers(
      'the node-redis subscriber > tries again when the connection breaks while it subscribes (request-lost), and no promise is left alone',
    ),
  },
  {
    file: 'src/adapters/node-redis.ts',
    line: 'client.unsubscribe(channel, told).catch(() => undefined);',
    why: 'the server forgets who has stopped',
    test: subscribers(
      'the node-redis subscriber > that is stopped is told nothing more, and the server forgets it; others go on',
    ),
  },
  {
    file: 'src/adapters/redis-port.ts',
    line: 'if (this.#unanswered.size > 0) this.#timer = this.#later();',
    why: 'what is not answered is given up',
    test: port(
      'a command that comes 100 ms after another is given up after the time-out, and before a quarter more',
    ),
  },
  {
    file: 'src/adapters/redis-port.ts',
    line: `  #look(): void {
    this.#timer = undefined;`,
    replacement: '  #look(): void {',
    why: 'a command that comes when all others are answered is watched over',
    test: port('what comes after a time in which nothing was asked has its whole time'),
  },
];

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

const fenceMutants: readonly Mutant[] = [
  {
    file: 'src/postgres/fencing.ts',
    line: ' AND ${name} < ${sql.value(token)}',
    why: 'a token that is lower lets nobody in',
    test: fencing(
      'postgres > over the port of the driver > a token that is equal or lower is refused as fenced, and nothing changes',
    ),
  },
  {
    file: 'src/mysql/fencing.ts',
    line: ' AND ${name} < ${sql.value(token)}',
    why: 'a token that is lower lets nobody in',
    test: fencing(
      'mariadb > over the port of the driver > a token that is equal or lower is refused as fenced, and nothing changes',
    ),
  },
  {
    file: 'src/fencing.ts',
    line: '{ ...expect, [fence.column]: fence.token }',
    replacement: 'expect',
    why: 'who was fenced off writes nothing any more',
    test: fencing(
      'postgres > a holder that outlasts its lease > with the registration before the read, is refused and told why',
    ),
  },
  {
    file: 'src/fencing.ts',
    line: 'if (carried === token) return done(undefined);',
    replacement: 'return done(undefined);',
    why: 'what is written elsewhere is rolled back with the section',
    test: fencing(
      'postgres > writes to other tables > are rolled back where a later section has been let in, or is being let in',
    ),
  },
  {
    file: 'src/fencing.ts',
    line: `lookAtFence(transaction, fenced, 'share')`,
    replacement: `lookAtFence(transaction, fenced, 'update')`,
    why: 'those of one section do not wait for each other',
    test: fencing('postgres > writes to other tables > of one section may be verified side by side'),
  },
  {
    file: 'src/fencing.ts',
    line: `(await lookAtFence(sql, registration, 'update')) >= fence.token`,
    replacement: `(await lookAtFence(sql, registration, 'update')) > fence.token`,
    why: 'a token that was used already is somebody’s',
    test: fencing(
      'postgres > over the port of the driver > of 50 that register the same token at once, one does',
    ),
  },
  {
    file: 'src/fencing.ts',
    line: `lookAtFence(sql, update, 'update')`,
    replacement: `lookAtFence(sql, update, 'share')`,
    why: 'who goes on to change the row is no deadlock with who waits for it',
    test: fencing(
      'mariadb > a refusal > in a transaction that goes on to change the row, is no deadlock with who waits to register',
    ),
  },
  {
    file: 'src/fencing.ts',
    line: '!Number.isSafeInteger(token) || token < 1',
    replacement: 'false',
    why: 'two tokens that are rounded to one are not told apart',
    test: fencing(
      'postgres > a token that is no whole number from 1 to 2^53 − 1 is refused, and nothing is sent',
    ),
  },
];

/** Locks over all processes, their stores, and the fence behind them. */
export const lockMutants: readonly Mutant[] = [
  ...coreMutants,
  ...luaMutants,
  ...placeMutants,
  ...subscriberMutants,
  ...memoryMutants,
  ...sqlMutants,
  ...fenceMutants,
];
