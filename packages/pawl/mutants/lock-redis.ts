// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are lines of code.
import type { Mutant, NamedTest } from './mutant.ts';

const redis = (name: string): NamedTest => ({ file: 'test/lock-redis.test.ts', name });
const script = (name: string): NamedTest => ({ file: 'test/lock-script.test.ts', name });
const subscribers = (name: string): NamedTest => ({ file: 'test/redis-subscribers.test.ts', name });
const port = (name: string): NamedTest => ({ file: 'test/redis-port.test.ts', name });

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
    line: 'last.index = command.index;',
    why: 'a command that takes the place of another is still found when it is answered',
    test: port('of many that are answered in any order, those alone are given up that were not'),
  },
  {
    file: 'src/adapters/redis-port.ts',
    line: 'if (this.#unanswered.length > 0) this.#timer ??= this.#later();',
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

/** Locks in Redis. */
export const redisLockMutants: readonly Mutant[] = [...luaMutants, ...placeMutants, ...subscriberMutants];
