import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import {
  done,
  type GroupCommitOptions,
  type GroupWork,
  groupCommit,
  HELD,
  type ObservedBatch,
  observe,
  refused,
  type Settled,
  StoreError,
  stock,
  unknown,
} from '../src/index.ts';
import type { StockOutcome } from '../src/stock.ts';
import { type Fate, POISON, type SeatRequest, SimulatedSeats, seats } from './simulated-stock.ts';

const OPTIONS: GroupCommitOptions = {
  name: 'seats',
  retry: { attempts: 3, backoffMs: 0, maxBackoffMs: 0, jitter: 0 },
};

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

type SeatOutcome = StockOutcome<number, 'already-issued' | 'sold-out'>;
/** What a request came to; `failed`: an error that says that nothing took effect. */
type Told = { readonly request: SeatRequest; readonly outcome: SeatOutcome | { readonly outcome: 'failed' } };

/** Some order of the requests, one by one, in which each of them is told what it was told, and which leaves what is there. */
function isExplained(
  told: readonly Told[],
  halls: Readonly<Record<string, number>>,
  simulated: SimulatedSeats,
) {
  return Object.entries(halls).every(([hall, all]) => {
    const its = told.filter(({ request }) => request.stock === hall);
    const taken = simulated.seats.filter((seat) => seat.hall === hall);
    return explains(its, all, taken.map(({ guest, number }) => `${guest}/${number}`).sort());
  });
}

function explains(told: readonly Told[], all: number, left: readonly string[]): boolean {
  const seen = new Set<string>();
  const search = (rest: readonly Told[], guests: ReadonlyMap<string, number>): boolean => {
    if (rest.length === 0) {
      const end = [...guests].map(([guest, number]) => `${guest}/${number}`).sort();
      return JSON.stringify(end) === JSON.stringify(left);
    }
    const state = JSON.stringify([rest.map(({ request }) => request.id), [...guests]]);
    if (seen.has(state)) return false;
    seen.add(state);
    return rest.some((next, index) => {
      const others = rest.toSpliced(index, 1);
      const guest = String(next.request.claimant);
      const given = guests.size + 1;
      const alone = guests.has(guest) ? 'already-issued' : guests.size >= all ? 'sold-out' : given;
      const { outcome } = next;
      const changed = typeof alone === 'number' ? new Map([...guests, [guest, alone]]) : guests;
      if (outcome.outcome === 'failed') return search(others, guests);
      if (outcome.outcome === 'unknown') return search(others, guests) || search(others, changed);
      if (outcome.outcome === 'done') return outcome.value === alone && search(others, changed);
      // These are told to whoever was not decided about.
      if (['contended', 'overloaded', 'lock-timeout'].includes(outcome.reason)) return search(others, guests);
      return outcome.reason === alone && search(others, guests);
    });
  };
  return search(told, new Map());
}

const aRequest = fc.record({
  stock: fc.constantFrom('large', 'small'),
  claimant: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom('ann', 'ben', 'cleo', 'dan') },
    { weight: 1, arbitrary: fc.constant(POISON) },
  ),
  process: fc.nat(1),
  afterTurns: fc.nat(4),
});

const fates = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.constant<Fate>('commits') },
    { weight: 2, arbitrary: fc.constant<Fate>('deadlock') },
    {
      weight: 3,
      arbitrary: fc.constantFrom<Fate>('unavailable', 'answer-lost', 'request-lost'),
    },
  ),
  { maxLength: 8 },
);

const HALLS = { large: 3, small: 1 };

test.each([
  { together: true, maxBatch: 512 },
  { together: true, maxBatch: 2 },
  { together: false, maxBatch: 512 },
])(
  'whatever comes together, some order of one by one explains what each is told ($together, $maxBatch)',
  async (how) => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(aRequest, { minLength: 1, maxLength: 7 }),
        fates,
        async (scheduler, requests, fates) => {
          const step = () => scheduler.schedule(Promise.resolve());
          const simulated = new SimulatedSeats(HALLS, { step, fates });
          // Two instances of a service, which know nothing of each other.
          const processes = [0, 1].map(() => stock(simulated.port(), seats, { ...OPTIONS, ...how }));
          const ask = async (
            { process, afterTurns, ...keys }: (typeof requests)[number],
            id: number,
          ): Promise<Told> => {
            for (let turn = 0; turn < afterTurns; turn++) await nextTurn();
            const request = { ...keys, id };
            try {
              const outcome = await (processes[process] as (typeof processes)[number]).take(request);
              return { request, outcome };
            } catch (error) {
              expect(error).toMatchObject({ effect: 'none' });
              return { request, outcome: { outcome: 'failed' } };
            }
          };
          const told = await scheduler.waitFor(Promise.all(requests.map(ask)));
          expect(isExplained(told, HALLS, simulated)).toBe(true);
          // Whoever was told that nobody knows is told by reading, and it is the truth.
          const resolved = told.map(async ({ request, outcome }): Promise<void> => {
            if (outcome.outcome !== 'unknown') return;
            let known = await outcome.resolve();
            while (known.outcome === 'unknown') known = await known.resolve();
            const mine = simulated.seats.find((seat) => seat.request === request.id);
            expect(known).toEqual(mine === undefined ? refused('already-issued') : done(mine.number));
          });
          await scheduler.waitFor(Promise.all(resolved));
        },
      ),
      { numRuns: 150 },
    );
  },
);

/** Work that notes its batches, and is decided at once. */
function noted(decide: (item: string) => Settled | typeof HELD = () => done(undefined)) {
  const batches: string[][] = [];
  const work: GroupWork<string, Settled> = {
    keyOf: (item) => item,
    sizeOf: (item) => item.length,
    read: () => [{ text: 'read', values: [] }],
    decide(items) {
      batches.push([...items]);
      const outcomes = items.map((item) => decide(item));
      return { writes: [], outcomes: () => outcomes };
    },
    unknown: () => unknown(async () => refused('contended')),
  };
  return { work, batches };
}

/** A port whose transactions wait for `until`, and fail as it says. */
function waitingPort(until: () => Promise<unknown>): ReturnType<SimulatedSeats['port']> {
  const port = new SimulatedSeats({}, { step: async () => undefined, fates: [] }).port();
  return {
    ...port,
    readThenWrite: async (reads, decide) => {
      await until();
      const decision = decide(reads.map(() => ({ rows: [], affectedRows: 0 })));
      if ('next' in decision) throw new TypeError('the work decides at once');
      return decision.result([]);
    },
  };
}

describe('a batch', () => {
  test('is what comes while the one before is in flight', async () => {
    const gate = Promise.withResolvers<void>();
    const { work, batches } = noted();
    const group = groupCommit(
      waitingPort(() => gate.promise),
      work,
      { name: 'noted' },
    );
    const first = group.submit('a');
    await nextTurn();
    await nextTurn();
    const others = ['b', 'c', 'd'].map((item) => group.submit(item));
    gate.resolve();
    await Promise.all([first, ...others]);
    expect(batches).toEqual([['a'], ['b', 'c', 'd']]);
  });

  test('has no more items than it may, nor bytes; what is larger goes alone', async () => {
    const { work, batches } = noted();
    const group = groupCommit(waitingPort(nextTurn), work, { name: 'noted', maxBatch: 3, maxBatchBytes: 5 });
    await Promise.all(['aa', 'bb', 'cc', 'dddddddd', 'e', 'f', 'g', 'h'].map((item) => group.submit(item)));
    expect(batches).toEqual([['aa', 'bb'], ['cc'], ['dddddddd'], ['e', 'f', 'g'], ['h']]);
  });

  test('leaves a part of those that wait where it is to, and what it came to is told while the next is in flight', async () => {
    const gates = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
    let sent = 0;
    const { work, batches } = noted();
    const group = groupCommit(
      waitingPort(() => (gates[sent++] as (typeof gates)[number]).promise),
      work,
      { name: 'noted', maxShare: 0.5 },
    );
    const sentWhenTold: number[] = [];
    const asked = Array.from({ length: 70 }, async (_, item) => {
      await group.submit(`${item}`);
      sentWhenTold.push(sent);
    });
    gates[0]?.resolve();
    await vi.waitFor(() => expect(sentWhenTold).toEqual(Array.from({ length: 35 }, () => 2)));
    gates[1]?.resolve();
    gates[2]?.resolve();
    await Promise.all(asked);
    expect(batches.map(({ length }) => length)).toEqual([35, 32, 3]);
  });

  test('whoever finds too many waiting is refused, and those who wait are not', async () => {
    const gate = Promise.withResolvers<void>();
    const { work, batches } = noted();
    const group = groupCommit(
      waitingPort(() => gate.promise),
      work,
      { name: 'noted', maxWaiting: 2 },
    );
    const first = group.submit('in flight');
    await nextTurn();
    await nextTurn();
    const waiting = [group.submit('a'), group.submit('b')];
    expect(await group.submit('c')).toEqual(refused('overloaded'));
    gate.resolve();
    expect(await Promise.all([first, ...waiting])).toEqual([1, 2, 3].map(() => done(undefined)));
    expect(batches.flat()).not.toContain('c');
    expect(await group.submit('d')).toEqual(done(undefined));
  });

  test('of one begins at once where the last was of one, and with the turn where it was not', async () => {
    const { work } = noted();
    let begun = 0;
    const group = groupCommit(
      waitingPort(() => {
        begun++;
        return nextTurn();
      }),
      work,
      { name: 'noted' },
    );
    const soon = async () => {
      for (let step = 0; step < 20; step++) await undefined;
      return begun;
    };
    const first = group.submit('a');
    expect(await soon()).toBe(0);
    await first;
    const second = group.submit('b');
    expect(await soon()).toBe(2);
    await second;
    await Promise.all([group.submit('c'), group.submit('d')]);
    const last = group.submit('e');
    expect(await soon()).toBe(3);
    await last;
    expect(begun).toBe(4);
  });

  test('that fails at once keeps nobody else from his turn, however often it is asked for again', async () => {
    const { work } = noted();
    const group = groupCommit(
      waitingPort(() => Promise.reject(new StoreError('UNAVAILABLE', 'none', 'it has ended'))),
      work,
      { name: 'noted' },
    );
    let turns = 0;
    const turn = () => {
      turns++;
      if (turns < 1_000) setImmediate(turn);
    };
    setImmediate(turn);
    for (let time = 0; time < 50; time++)
      await expect(group.submit('a')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(turns).toBeGreaterThanOrEqual(50);
  });

  test('is split until whoever spoils it stands alone', async () => {
    const { work } = noted((item) => {
      if (item === 'spoils') throw new TypeError('a bug');
      return done(undefined);
    });
    const group = groupCommit(waitingPort(nextTurn), work, { name: 'noted' });
    const items = ['a', 'b', 'c', 'spoils', 'd', 'e'];
    const told = await Promise.allSettled(items.map((item) => group.submit(item)));
    expect(told.map(({ status }) => status === 'rejected')).toEqual(items.map((item) => item === 'spoils'));
  });

  test('that cannot be sent is not split: nobody can be told more of it one by one', async () => {
    let transactions = 0;
    const { work } = noted();
    const group = groupCommit(
      waitingPort(async () => {
        transactions++;
        throw new StoreError('UNAVAILABLE', 'none', 'nobody is there');
      }),
      work,
      { name: 'noted' },
    );
    const told = await Promise.allSettled(['a', 'b', 'c'].map((item) => group.submit(item)));
    expect(told.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(transactions).toBe(1);
  });

  test('that all are refused for, one after the other, is not asked for each of them', async () => {
    let transactions = 0;
    const { work } = noted(() => {
      transactions++;
      throw new StoreError('REJECTED', 'none', 'the disk is full');
    });
    const group = groupCommit(waitingPort(nextTurn), work, { name: 'noted' });
    const told = await Promise.allSettled(Array.from({ length: 512 }, (_, item) => group.submit(`${item}`)));
    expect(told.every(({ status }) => status === 'rejected')).toBe(true);
    expect(transactions).toBeLessThan(60);
  });

  test('that waits for an insertion of somebody else is taken apart, and holds up nobody who comes later', async () => {
    const { work, batches } = noted((item) => {
      if (item === 'stuck') throw new StoreError('LOCK_TIMEOUT', 'none', 'somebody has inserted it');
      return done(undefined);
    });
    const group = groupCommit(waitingPort(nextTurn), work, { name: 'noted', lockWaitMs: 200 });
    const stuck = group.submit('stuck');
    expect(await Promise.all(['a', 'b', 'c'].map((item) => group.submit(item)))).toEqual(
      [1, 2, 3].map(() => done(undefined)),
    );
    expect(await group.submit('d')).toEqual(done(undefined));
    // Those of the batch that failed were tried once more, each apart.
    expect(batches.filter((batch) => batch.includes('a'))).toEqual([['stuck', 'a', 'b', 'c'], ['a']]);
    expect(await stuck).toEqual(refused('lock-timeout'));
  });

  test('that waits for several insertions of somebody else has those who are in nobody’s way before them', async () => {
    const released = Promise.withResolvers<void>();
    const isStuck = (item: string) => item.startsWith('stuck');
    const { work } = noted((item) => {
      if (isStuck(item)) throw new StoreError('LOCK_TIMEOUT', 'none', 'somebody has inserted it');
      return done(undefined);
    });
    let waits = false;
    const read: typeof work.read = (items, wait) => {
      waits = wait && items.some(isStuck);
      return work.read(items, wait);
    };
    const port = waitingPort(() => (waits ? released.promise : nextTurn()));
    const group = groupCommit(port, { ...work, read }, { name: 'noted', lockWaitMs: 1_000, maxHeldKeys: 2 });
    const stuck = ['stuck 1', 'stuck 2', 'stuck 3'].map((item) => group.submit(item));
    const free = await Promise.all(['a', 'b', 'c'].map((item) => group.submit(item)));
    expect(free).toEqual(free.map(() => done(undefined)));
    released.resolve();
    expect(await Promise.all(stuck)).toEqual(stuck.map(() => refused('lock-timeout')));
  });

  test('that meets conflicts is tried again, and refused in the end', async () => {
    let transactions = 0;
    const { work } = noted();
    const group = groupCommit(
      waitingPort(async () => {
        transactions++;
        throw new StoreError('SERIALIZATION_FAILURE', 'none', 'somebody was faster');
      }),
      work,
      OPTIONS,
    );
    expect(await Promise.all(['a', 'b'].map((item) => group.submit(item)))).toEqual(
      [1, 2].map(() => refused('contended')),
    );
    expect(transactions).toBe(3);
  });

  test('whose key is there after all is decided again, also after a conflict', async () => {
    const fates = ['SERIALIZATION_FAILURE', 'DUPLICATE_KEY'] as const;
    let transactions = 0;
    const { work, batches } = noted();
    const group = groupCommit(
      waitingPort(async () => {
        const code = fates[transactions++];
        if (code !== undefined) throw new StoreError(code, 'none', 'somebody was faster');
      }),
      work,
      OPTIONS,
    );
    expect(await Promise.all(['a', 'b'].map((item) => group.submit(item)))).toEqual(
      [1, 2].map(() => done(undefined)),
    );
    expect(batches).toEqual([['a', 'b']]);
  });

  test('whose work cannot say what it came to, once it is committed, is unknown and not done again', async () => {
    let decided = 0;
    const work: GroupWork<string, Settled> = {
      ...noted().work,
      decide() {
        decided++;
        return { writes: [], outcomes: () => [] };
      },
    };
    const group = groupCommit(waitingPort(nextTurn), work, { name: 'noted' });
    expect(await Promise.all([group.submit('a'), group.submit('b')])).toMatchObject(
      [1, 2].map(() => ({ outcome: 'unknown' })),
    );
    expect(decided).toBe(1);
  });

  describe('that may be as it usually is', () => {
    /** What each transaction has tried first, and what becomes of the first that do. */
    function optimistic(...fates: (StoreError | undefined)[]) {
      const tried: string[] = [];
      const { work, batches } = noted();
      const port = waitingPort(async () => undefined);
      const group = groupCommit<string, Settled>(
        {
          ...port,
          readThenWrite(reads, decide) {
            if (reads.length > 0) return port.readThenWrite?.(reads, decide) as never;
            const fate = fates.shift();
            if (fate !== undefined) return Promise.reject(fate);
            return port.readThenWrite?.(reads, decide) as never;
          },
        },
        {
          ...work,
          optimistic(items) {
            tried.push(items.join());
            return { writes: [], outcomes: () => items.map(() => done(undefined)) };
          },
        },
        OPTIONS,
      );
      return { group, tried, batches };
    }
    const refusal = (code: StoreError['code']) => new StoreError(code, 'none', 'it was not so');

    test('is not read for', async () => {
      const { group, tried, batches } = optimistic();
      await Promise.all(['a', 'b'].map((item) => group.submit(item)));
      expect([tried, batches]).toEqual([['a,b'], []]);
    });

    test.each(['REJECTED', 'LOCK_TIMEOUT', 'DUPLICATE_KEY', 'DEADLOCK', 'SERIALIZATION_FAILURE'] as const)(
      'is read for where it was not so (%s), and decided as always',
      async (code) => {
        const { group, tried, batches } = optimistic(refusal(code));
        expect(await Promise.all(['a', 'b'].map((item) => group.submit(item)))).toEqual(
          [1, 2].map(() => done(undefined)),
        );
        expect([tried, batches]).toEqual([['a,b'], [['a', 'b']]]);
      },
    );

    test('is unknown where nobody knows whether it was committed, and not done again', async () => {
      const { group, batches } = optimistic(new StoreError('CONNECTION_LOST', 'unknown', 'silence'));
      expect(await group.submit('a')).toMatchObject({ outcome: 'unknown' });
      expect(batches).toEqual([]);
    });

    test('is read for where it cannot even be said', async () => {
      const { work, batches } = noted();
      const group = groupCommit<string, Settled>(
        waitingPort(nextTurn),
        {
          ...work,
          optimistic() {
            throw refusal('REJECTED');
          },
        },
        OPTIONS,
      );
      expect(await group.submit('a')).toEqual(done(undefined));
      expect(batches).toEqual([['a']]);
    });

    test('is not asked for once more where nobody is there', async () => {
      const { group, batches } = optimistic(refusal('UNAVAILABLE'));
      await expect(group.submit('a')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      expect(batches).toEqual([]);
    });

    test('is tried less and less where it never is, and always where it is again', async () => {
      const { group, tried } = optimistic(...Array.from({ length: 8 }, () => refusal('REJECTED')));
      const triedAt: number[] = [];
      for (let batch = 0; batch < 260; batch++) {
        await group.submit(`${batch}`);
        if (tried.splice(0).length > 0) triedAt.push(batch);
      }
      expect(triedAt.slice(0, 9)).toEqual([0, 2, 5, 10, 19, 36, 69, 134, 199]);
      expect(triedAt.slice(9)).toEqual(Array.from({ length: 60 }, (_, index) => 200 + index));
    });

    test('is not tried for what is split, nor for those who wait for a row', async () => {
      const { work } = noted();
      const tried: string[] = [];
      const read: string[] = [];
      const group = groupCommit<string, Settled>(
        waitingPort(nextTurn),
        {
          ...work,
          optimistic(items) {
            tried.push(items.join());
            return undefined;
          },
          decide(items, _read, waited) {
            read.push(items.join());
            if (items.includes('spoils')) throw new TypeError('a bug');
            return { writes: [], outcomes: () => items.map(() => (waited ? done(undefined) : HELD)) };
          },
        },
        OPTIONS,
      );
      await Promise.allSettled(['a', 'spoils', 'b'].map((item) => group.submit(item)));
      expect(tried).toEqual(['a,spoils,b']);
      expect(read.length).toBeGreaterThan(5);
    });
  });

  test('is told to whoever observes', async () => {
    const seen: ObservedBatch[] = [];
    const stop = observe({ began: () => undefined, batched: (batch) => seen.push(batch) });
    const { work } = noted();
    const group = groupCommit(waitingPort(nextTurn), work, { name: 'noted', maxBatch: 2 });
    await Promise.all(['a', 'b', 'c'].map((item) => group.submit(item)));
    stop();
    expect(seen).toMatchObject([
      { group: 'noted', store: 'postgres', size: 2, left: 1 },
      { group: 'noted', store: 'postgres', size: 1, left: 0 },
    ]);
    for (const { waitedMs } of seen) expect(waitedMs).toBeGreaterThanOrEqual(0);
  });
});

describe('a row that somebody else has', () => {
  test('holds up nobody but those who ask for it, and each is served when it is free', async () => {
    const simulated = new SimulatedSeats({ held: 2, free: 9 }, { step: nextTurn, fates: [] });
    const release = simulated.lock('held');
    const group = stock(simulated.port(), seats, OPTIONS);
    const ask = (hall: string, claimant: string) => group.take({ stock: hall, claimant, id: 0 });
    const held = ['ann', 'ann', 'ben', 'cleo'].map((guest) => ask('held', guest));
    const first = await Promise.all(['ann', 'ben'].map((guest) => ask('free', guest)));
    // Those who come later for the row that is held go after those who wait, and hold up nobody either.
    const late = ask('held', 'dan');
    const second = await ask('free', 'cleo');
    expect([...first, second]).toEqual([done(1), done(2), done(3)]);
    expect(simulated.seats.some(({ hall }) => hall === 'held')).toBe(false);
    release();
    expect(await Promise.all([...held, late])).toEqual([
      done(1),
      refused('already-issued'),
      done(2),
      refused('sold-out'),
      refused('sold-out'),
    ]);
  });

  test('does not keep those waiting that are held for a moment, however many are stuck', async () => {
    const halls = ['stuck', 'a', 'b'];
    const simulated = new SimulatedSeats({ stuck: 1, a: 1, b: 1 }, { step: nextTurn, fates: [] });
    const releases = halls.map((hall) => simulated.lock(hall));
    const group = stock(simulated.port(), seats, { ...OPTIONS, maxHeldKeys: 1 });
    const [stuck, ...asked] = halls.map((hall) => group.take({ stock: hall, claimant: 'ann', id: 0 }));
    // Who waits gives up his turn after a second.
    releases[1]?.();
    releases[2]?.();
    expect(await Promise.all(asked)).toEqual([done(1), done(1)]);
    releases[0]?.();
    expect(await stuck).toEqual(done(1));
  });

  test('keeps no more waiting than a part of all that may, so that others are not refused for its sake', async () => {
    const { work } = noted((item) => (item === 'held' ? HELD : done(undefined)));
    const group = groupCommit(waitingPort(nextTurn), work, { name: 'noted', maxWaiting: 8, lockWaitMs: 300 });
    const first = group.submit('held');
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    const others = Array.from({ length: 6 }, () => group.submit('held'));
    expect(await group.submit('free')).toEqual(done(undefined));
    const told = await Promise.all([first, ...others]);
    const overloaded = told.filter((one) => one.outcome === 'refused' && one.reason === 'overloaded');
    expect(overloaded.length).toBeGreaterThanOrEqual(3);
    expect(told[0]).toEqual(refused('lock-timeout'));
  });

  test.each([
    ['in the transaction that finds it held', [6]],
    ['while that is under way', [1, 5]],
  ])('and for which many come %s, keeps no more of them', async (_when, comings) => {
    const { work } = noted((item) => (item === 'held' ? HELD : done(undefined)));
    const group = groupCommit(waitingPort(nextTurn), work, { name: 'noted', maxWaiting: 8, lockWaitMs: 300 });
    const asked: ReturnType<typeof group.submit>[] = [];
    for (const count of comings) {
      asked.push(...Array.from({ length: count }, () => group.submit('held')));
      await nextTurn();
    }
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    const free = await Promise.all(Array.from({ length: 6 }, () => group.submit('free')));
    expect(free).toEqual(free.map(() => done(undefined)));
    const reasons = (await Promise.all(asked)).map((one) => one.outcome === 'refused' && one.reason);
    expect(reasons).toEqual(['lock-timeout', 'lock-timeout', ...Array(4).fill('overloaded')]);
  });

  test('is asked for in a line as long as that is asked for, and then with the others again', async () => {
    const simulated = new SimulatedSeats({ held: 200 }, { step: nextTurn, fates: [] });
    const release = simulated.lock('held');
    const seen: ObservedBatch[] = [];
    const stop = observe({ began: () => undefined, batched: (batch) => seen.push(batch) });
    const group = stock(simulated.port(), seats, OPTIONS);
    const buyer = async (name: string) => {
      const numbers: number[] = [];
      for (let seat = 0; seat < 40; seat++) {
        const told = await group.take({ stock: 'held', claimant: `${name}${seat}`, id: 0 });
        if (told.outcome === 'done') numbers.push(told.value);
      }
      return numbers;
    };
    const buyers = ['ann', 'ben', 'cleo'].map(buyer);
    await nextTurn();
    await nextTurn();
    release();
    const numbers = (await Promise.all(buyers)).flat();
    stop();
    expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 120 }, (_, index) => index + 1));
    expect(seen.at(-1)).toMatchObject({ left: 0 });
  });

  test('that stays another’s is waited for as long as it may be, with pauses', async () => {
    const { work, batches } = noted(() => HELD);
    const group = groupCommit(waitingPort(nextTurn), work, { name: 'noted', lockWaitMs: 60 });
    expect(await group.submit('held')).toEqual(refused('lock-timeout'));
    // Once without waiting, and then at most every ten milliseconds.
    expect(batches.length).toBeLessThanOrEqual(8);
  });

  test('whose lock is not granted in time is a refusal', async () => {
    const { work } = noted(() => HELD);
    let transactions = 0;
    const port = waitingPort(async () => {
      if (transactions++ > 0) throw new StoreError('LOCK_TIMEOUT', 'none', 'somebody has it');
    });
    const group = groupCommit(port, work, { name: 'noted', lockWaitMs: 50 });
    expect(await group.submit('held')).toEqual(refused('lock-timeout'));
    expect(transactions).toBeGreaterThan(2);
  });
});

test.each([
  ['maxBatch', 0],
  ['maxBatchBytes', -1],
  ['maxWaiting', 1.5],
  ['maxHeldKeys', Number.NaN],
  ['lockWaitMs', 2 ** 31],
])('%s cannot be %d', (name, value) => {
  const begun = vi.fn();
  expect(() => groupCommit(waitingPort(begun), noted().work, { name: 'noted', [name]: value })).toThrow(
    expect.objectContaining({ code: 'MISUSE' }),
  );
  expect(begun).not.toHaveBeenCalled();
});
