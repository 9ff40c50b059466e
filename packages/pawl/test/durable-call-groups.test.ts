import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { barrier, until } from '../../../test/barrier.ts';
import { type CommitFate, startProxy } from '../../../test/proxy.ts';
import { done, HELD, observe, readThenWrite, refused } from '../src/index.ts';
import {
  answered,
  booked,
  type InstanceOptions,
  openStage,
  SCOPE_TEXT,
  type Scene,
  type Stage,
  told,
  unknown,
} from './durable-call-stage.ts';

/* Claims that share a transaction, and settlements that do: each caller has the outcome that he would have had alone. */

const TOGETHER = { groups: {} } satisfies InstanceOptions;
const ALONE = { groups: { together: false } } satisfies InstanceOptions;

describe.each([
  { name: 'postgres', isOptimistic: false },
  { name: 'postgres', isOptimistic: true },
  { name: 'mariadb', isOptimistic: false },
  { name: 'mariadb', isOptimistic: true },
] as const)('$name, optimistic: $isOptimistic', ({ name, isOptimistic }) => {
  let stage: Stage;
  let scene: Scene;

  beforeAll(async () => {
    stage = await openStage(name);
  });

  afterAll(() => stage.close());

  beforeEach(() => {
    scene = stage.scene({ isOptimistic });
  });

  async function parcels(count: number): Promise<string[]> {
    const ids: string[] = [];
    while (ids.length < count) ids.push(await scene.parcel());
    return ids;
  }

  /** The sizes of the batches, by the name of their group, from now on. */
  function batchSizes(): Map<string, number[]> {
    const sizes = new Map<string, number[]>();
    const stop = observe({
      began: () => undefined,
      batched: ({ group, size }) => void sizes.set(group, [...(sizes.get(group) ?? []), size]),
    });
    onTestFinished(stop);
    return sizes;
  }

  async function expectBookedOnce(parcel: string): Promise<void> {
    expect(await stage.rows(parcel)).toEqual({ state: 'BOOKED', attempt: 1, receipts: 1 });
    expect(scene.receiver.made(parcel)).toBe(1);
  }

  test('twenty at once: one claim and one settlement for all of them, and each has his answer', async () => {
    const given = await parcels(20);
    const { bookTogether } = scene.instance(TOGETHER);
    const sizes = batchSizes();
    const outcomes = await Promise.all(given.map((parcel) => bookTogether(parcel)));
    const bodies = outcomes.map((outcome) => told(outcome));
    expect(new Set(bodies.map((body) => JSON.stringify(body))).size).toBe(20);
    for (const parcel of given) await expectBookedOnce(parcel);
    expect([...sizes.values()]).toEqual([[20], [20]]);
    const replayed = await Promise.all(given.map((parcel) => bookTogether(parcel)));
    expect(replayed.map((outcome) => told(outcome))).toEqual(
      bodies.map((body) => ({ ...(body as object), replayed: true })),
    );
  });

  test(`what is as it usually is ${isOptimistic ? 'needs no reading' : 'is read first'}, and what is not is read`, async () => {
    const given = await parcels(5);
    const reads: string[] = [];
    const { bookTogether } = scene.instance({
      ...TOGETHER,
      definition: ({ grouped }) => ({
        ...(grouped && {
          grouped: {
            claims: {
              ...grouped.claims,
              read(claims, wait) {
                reads.push(`claims ${claims.length}`);
                return grouped.claims.read(claims, wait);
              },
            },
            settlements: {
              ...grouped.settlements,
              read(settlements, wait) {
                reads.push(`settlements ${settlements.length}`);
                return grouped.settlements.read(settlements, wait);
              },
            },
          },
        }),
      }),
    });
    const all = ['claims 5', 'settlements 5'];
    await Promise.all(given.map((parcel) => bookTogether(parcel)));
    expect(reads.splice(0)).toEqual(isOptimistic ? [] : all);
    for (const parcel of given) await expectBookedOnce(parcel);
    // Its claims cannot be as they usually are, and its settlements are in another attempt.
    const second = await parcels(5);
    await stage.database.query(`UPDATE parcel SET attempt = 2 WHERE id = ?`, second[3] ?? '');
    await Promise.all(second.map((parcel) => bookTogether(parcel)));
    expect(reads).toEqual(all);
    expect(await stage.rows(second[3] ?? '')).toEqual({ state: 'BOOKED', attempt: 2, receipts: 1 });
  });

  test('nobody tries without reading for two that are about the same, nor while many are refused', async () => {
    const [twice = '', once = '', other = ''] = await parcels(3);
    const tried: string[] = [];
    const { bookTogether } = scene.instance({
      ...TOGETHER,
      definition: ({ grouped }) => ({
        ...(grouped && {
          grouped: {
            ...grouped,
            claims: {
              ...grouped.claims,
              optimistic(claims) {
                tried.push(claims.map(({ parcel }) => parcel).join());
                return grouped.claims.optimistic?.(claims);
              },
            },
          },
        }),
      }),
    });
    const again = { key: `${twice}-again` };
    await Promise.all([bookTogether(twice), bookTogether(once), bookTogether(twice, again)]);
    expect(tried).toEqual([]);
    await bookTogether(once);
    await bookTogether(other);
    expect(tried).toEqual([]);
    for (const parcel of [twice, once, other]) await expectBookedOnce(parcel);
    for (const parcel of await parcels(40)) await bookTogether(parcel);
    expect(tried.length).toBeGreaterThan(0);
  });

  test.each([
    ['in one transaction', TOGETHER],
    ['each in a transaction of his own', ALONE],
  ])('the same request, its key, and its parcel again, %s: one is booked', async (_how, options) => {
    const [parcel, other] = (await parcels(2)) as [string, string];
    const isSent = barrier(2);
    const goesOn = barrier(2);
    scene.receiver.script('send', async (honestly) => {
      await isSent();
      await goesOn();
      return honestly();
    });
    const { bookTogether } = scene.instance(options);
    const first = bookTogether(parcel);
    // Behind the first, and in its batch where there is one. Where there is none, any of them could come before it.
    if (options === ALONE) await isSent();
    const later = [
      bookTogether(parcel),
      bookTogether(parcel, { payload: '{"another":1}' }),
      bookTogether(other, { key: parcel }),
      bookTogether(parcel, { key: `${parcel}-again` }),
    ];
    if (options !== ALONE) await isSent();
    const [same, payload, parcels_, again] = await Promise.all(later);
    await goesOn();
    expect(told(await first)).toEqual(booked());
    expect(same).toMatchObject(refused('in-progress'));
    expect(payload).toEqual(refused('payload-mismatch'));
    expect(parcels_).toMatchObject(refused('in-progress'));
    expect(again).toEqual(refused('wrong-state'));
    expect(await stage.rows(other)).toMatchObject({ state: 'WAITING', receipts: 0 });
    await expectBookedOnce(parcel);
  });

  test('a claim that the database refuses fails alone', async () => {
    const given = await parcels(9);
    const [spoiled = '', ...others] = given;
    const { bookTogether } = scene.instance(TOGETHER);
    const [failed, ...outcomes] = await Promise.allSettled([
      bookTogether(spoiled, { spoiled: true }),
      ...others.map((parcel) => bookTogether(parcel)),
    ]);
    expect(failed).toMatchObject({ status: 'rejected', reason: { name: 'StoreError', effect: 'none' } });
    expect(outcomes.map(({ status }) => status)).toEqual(others.map(() => 'fulfilled'));
    for (const parcel of others) await expectBookedOnce(parcel);
    expect(await stage.rows(spoiled)).toMatchObject({ state: 'WAITING', receipts: 0 });
    expect(await scene.call(spoiled)).toBeUndefined();
    expect(scene.receiver.made(spoiled)).toBe(0);
  });

  test('an attempt that is on record is not claimed again, and spoils nobody else’s', async () => {
    const [parcel = '', ...others] = await parcels(3);
    const { bookTogether } = scene.instance(TOGETHER);
    await bookTogether(parcel);
    // As if somebody had set the row back, and left its number.
    await stage.database.query(`UPDATE parcel SET state = 'WAITING' WHERE id = ?`, parcel);
    const [again, ...outcomes] = await Promise.all([
      bookTogether(parcel, { key: `${parcel}-again` }),
      ...others.map((other) => bookTogether(other)),
    ]);
    expect(again).toEqual(refused('contended'));
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['done', 'done']);
    expect(await stage.rows(parcel)).toEqual({ state: 'WAITING', attempt: 1, receipts: 1 });
    expect(scene.receiver.made(parcel)).toBe(1);
  });

  describe.each([
    ['claimed', 'WAITING'],
    ['settled', 'BOOKING'],
  ])('while somebody else has the row that is to be %s', (step, state) => {
    test('he who asks for it waits, and nobody else does', async () => {
      const [held = '', ...others] = await parcels(4);
      const { bookTogether } = scene.instance(TOGETHER);
      const session = await stage.database.connect();
      const lock = async () => {
        await session.begin('READ COMMITTED');
        await session.query('SELECT * FROM parcel WHERE id = ? FOR UPDATE', held);
      };
      if (step === 'claimed') await lock();
      else {
        scene.receiver.script('send', async (honestly) => {
          await lock();
          return honestly();
        });
      }
      let isOver = false;
      const waiting = bookTogether(held).then((outcome) => {
        isOver = true;
        return outcome;
      });
      if (step === 'settled') await until(() => scene.receiver.made(held) === 1);
      const outcomes = await Promise.all(others.map((parcel) => bookTogether(parcel)));
      expect(outcomes.map(({ outcome }) => outcome)).toEqual(others.map(() => 'done'));
      expect([isOver, (await stage.rows(held)).state]).toEqual([false, state]);
      await session.query('ROLLBACK');
      expect(await waiting).toMatchObject({ outcome: 'done' });
      await expectBookedOnce(held);
    });
  });

  test('who has the row for too long is told of: nothing is claimed, or recovery settles it', async () => {
    const [claimed = '', settled = ''] = await parcels(2);
    const { bookTogether, events } = scene.instance({ groups: { lockWaitMs: 50 } });
    const session = await stage.database.connect();
    await session.begin('READ COMMITTED');
    await session.query('SELECT * FROM parcel WHERE id = ? FOR UPDATE', claimed);
    expect(await bookTogether(claimed)).toEqual(refused('lock-timeout'));
    expect(scene.receiver.heard).toEqual([]);
    scene.receiver.script('send', async (honestly) => {
      await session.query('SELECT * FROM parcel WHERE id = ? FOR UPDATE', settled);
      return honestly();
    });
    expect(await bookTogether(settled)).toEqual(unknown('NOT_RECORDED'));
    expect(events).toMatchObject([{ kind: 'failed', cause: { code: 'LOCK_TIMEOUT', effect: 'none' } }]);
    await session.query('ROLLBACK');
    await stage.endLease(settled);
    expect(await scene.instance().calls.recover()).toBe(1);
    await expectBookedOnce(settled);
    expect(await stage.rows(claimed)).toMatchObject({ state: 'WAITING' });
  });

  test('who has lost his fence settles nothing, and those beside him do', async () => {
    const [lost = '', ...others] = await parcels(3);
    const arrived = barrier(4);
    const goesOn = barrier(4);
    const stall = async (honestly: () => ReturnType<typeof scene.receiver.send> | never) => {
      const answer = honestly();
      await arrived();
      await goesOn();
      return answer;
    };
    scene.receiver.script('send', stall as never, stall as never, stall as never);
    const { bookTogether, events } = scene.instance(TOGETHER);
    const racing = [lost, ...others].map((parcel) => bookTogether(parcel));
    await arrived();
    await stage.endLease(lost);
    // Taken over, and not settled yet: the parcel still stands as its owner left it.
    await stage.database.query(
      `UPDATE pawl_durable_call SET fence = 2, state = 'unknown' WHERE subject = ?`,
      lost,
    );
    await goesOn();
    const [outcome, ...rest] = await Promise.all(racing);
    expect(outcome).toEqual(unknown('TAKEN_OVER'));
    expect(await stage.rows(lost)).toEqual({ state: 'BOOKING', attempt: 1, receipts: 0 });
    expect(rest.map(({ outcome }) => outcome)).toEqual(['done', 'done']);
    expect(events).toEqual([]);
    expect(await scene.instance(TOGETHER).calls.recover()).toBe(1);
    for (const parcel of [lost, ...others]) await expectBookedOnce(parcel);
  });

  test('what is claimed again with its old key is answered, and with an old number as if it came alone', async () => {
    const [replayed = '', back = '', fresh = ''] = await parcels(3);
    const { bookTogether, events } = scene.instance(TOGETHER);
    const first = told(await bookTogether(replayed));
    await stage.database.query('UPDATE parcel SET attempt = 5 WHERE id = ?', back);
    await bookTogether(back);
    // As if somebody had set the rows back: both may be claimed again, the one with its key, the other with a lower number.
    await stage.database.query(`UPDATE parcel SET state = 'WAITING' WHERE id IN (?, ?)`, replayed, back);
    await stage.database.query('UPDATE parcel SET attempt = 2 WHERE id = ?', back);
    const outcomes = await Promise.all([
      bookTogether(replayed),
      bookTogether(back, { key: `${back}-again` }),
      bookTogether(fresh),
    ]);
    expect(told(outcomes[0])).toEqual({ ...(first as object), replayed: true });
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['done', 'done', 'done']);
    expect(await stage.rows(replayed)).toMatchObject({ state: 'WAITING' });
    await expectBookedOnce(fresh);
    expect(events).toEqual([]);
  });

  test('while most are refused all are looked up at once, and those who come for the first time are booked', async () => {
    const given = await parcels(12);
    const { bookTogether } = scene.instance(TOGETHER);
    const firsts = await Promise.all(given.map((parcel) => bookTogether(parcel)));
    for (let time = 0; time < 6; time++) {
      const [fresh = '', other = ''] = await parcels(2);
      const outcomes = await Promise.all([
        ...given.map((parcel) => bookTogether(parcel)),
        ...given.map((parcel) => bookTogether(parcel, { key: `${parcel}-${time}` })),
        bookTogether(fresh),
        bookTogether(other),
      ]);
      given.forEach((parcel, index) => {
        expect(told(outcomes[index] as never)).toEqual({
          ...(told(firsts[index] as never) as object),
          replayed: true,
        });
        expect(outcomes[given.length + index], parcel).toEqual(refused('wrong-state'));
      });
      for (const parcel of [fresh, other]) await expectBookedOnce(parcel);
    }
  });

  describe('while most are refused', () => {
    async function refusing({ bookTogether } = scene.instance(TOGETHER)) {
      const [booked = '', fresh = ''] = await parcels(2);
      const first = told(await bookTogether(booked));
      for (let time = 0; time < 10; time++) {
        expect(await bookTogether(booked, { key: `${booked}-${time}` })).toEqual(refused('wrong-state'));
      }
      return { bookTogether, booked, fresh, replay: { ...(first as object), replayed: true } };
    }

    test(`who is refused, and who replays, ${isOptimistic ? 'does not wait' : 'waits'} for a row that somebody else has`, async () => {
      const { bookTogether, booked, replay } = await refusing();
      const session = await stage.database.connect();
      await session.begin('READ COMMITTED');
      await session.query('SELECT * FROM parcel WHERE id = ? FOR UPDATE', booked);
      const asked = Promise.all([bookTogether(booked), bookTogether(booked, { key: `${booked}-late` })]);
      if (!isOptimistic) {
        await until(async () => (await stage.database.waitingForLocks()) === 1);
        await session.query('ROLLBACK');
      }
      const [replayed, late] = await asked;
      expect(told(replayed)).toEqual(replay);
      expect(late).toEqual(refused('wrong-state'));
      if (isOptimistic) await session.query('ROLLBACK');
    });

    test.runIf(isOptimistic)('it is looked first, and no more when hardly anybody is', async () => {
      const { bookTogether } = await refusing();
      const sizes = batchSizes();
      const looks = () =>
        sizes.get([...sizes.keys()].find((group) => group.endsWith('.look')) ?? '')?.length ?? 0;
      for (const parcel of await parcels(20)) await bookTogether(parcel);
      const before = looks();
      expect(before).toBeGreaterThan(0);
      for (const parcel of await parcels(5)) await bookTogether(parcel);
      expect(looks()).toBe(before);
    });

    test('of five who come for one that is free one claims it, and the others find it taken', async () => {
      const { bookTogether, fresh } = await refusing();
      const keys = ['a', 'b', 'c', 'd', 'e'].map((name) => `${fresh}-${name}`);
      const outcomes = await Promise.all(keys.map((key) => bookTogether(fresh, { key })));
      const words = outcomes.map((outcome) =>
        outcome.outcome === 'refused' ? outcome.reason : outcome.outcome,
      );
      expect(words.toSorted()).toEqual(['done', ...keys.slice(1).map(() => 'wrong-state')]);
      await expectBookedOnce(fresh);
    });

    test.runIf(isOptimistic)(
      'who is claimed while he is looked at is found on record, and is not told of his own rows',
      async () => {
        const { fresh, bookTogether } = await refusing();
        const [gate = '', other = ''] = await parcels(2);
        const session = await stage.database.connect();
        await session.begin('READ COMMITTED');
        await session.query('SELECT * FROM parcel WHERE id = ? FOR UPDATE', gate);
        // A look that begins at the gate.
        const { bookTogether: bookAtGate } = scene.instance({
          ...TOGETHER,
          definition: ({ grouped }) => ({
            ...(grouped?.claims.look && {
              grouped: {
                ...grouped,
                claims: {
                  ...grouped.claims,
                  look: {
                    read: (claims) => [
                      ...(claims.some(({ parcel }) => parcel === fresh)
                        ? [stage.database.statement('SELECT 1 FROM parcel WHERE id = ? FOR UPDATE', gate)]
                        : []),
                      ...(grouped.claims.look?.read(claims) ?? []),
                    ],
                    objections: (claims, read) =>
                      grouped.claims.look?.objections(claims, read.slice(-1)) ?? [],
                  },
                },
              },
            }),
          }),
        });
        told(await bookAtGate(other));
        for (let time = 0; time < 10; time++) await bookAtGate(other, { key: `${other}-${time}` });
        const looking = bookAtGate(fresh);
        await until(async () => (await stage.database.waitingForLocks()) === 1);
        const first = told(await bookTogether(fresh));
        await session.query('ROLLBACK');
        expect(told(await looking)).toEqual({ ...(first as object), replayed: true });
        await expectBookedOnce(fresh);
      },
    );

    test.runIf(isOptimistic)('a look whose answer is lost has no effect', async () => {
      let losing = false;
      const proxy = await startProxy(
        stage.database.url,
        () => 'answer-lost',
        () => losing,
      );
      onTestFinished(() => proxy.close());
      const { bookTogether, booked, fresh } = await refusing(
        scene.instance({ groups: { pool: { port: proxy.port } } }),
      );
      losing = true;
      const asked = [bookTogether(booked, { key: `${booked}-lost` }), bookTogether(fresh)];
      const lost = { status: 'rejected', reason: { code: 'CONNECTION_LOST', effect: 'none' } };
      expect(await Promise.allSettled(asked)).toMatchObject([lost, lost]);
      losing = false;
      expect(await bookTogether(booked, { key: `${booked}-lost` })).toEqual(refused('wrong-state'));
      expect(await bookTogether(fresh)).toMatchObject({ outcome: 'done' });
      await expectBookedOnce(fresh);
    });

    test('who comes for a free one that somebody else has locked waits for it', async () => {
      const { bookTogether, fresh } = await refusing();
      const session = await stage.database.connect();
      await session.begin('READ COMMITTED');
      await session.query('SELECT * FROM parcel WHERE id = ? FOR UPDATE', fresh);
      const asked = bookTogether(fresh);
      await until(async () => (await stage.database.waitingForLocks()) === 1);
      expect(scene.receiver.made(fresh)).toBe(0);
      await session.query('ROLLBACK');
      expect(await asked).toMatchObject({ outcome: 'done' });
      await expectBookedOnce(fresh);
    });
  });

  test('those who waited for a row are told apart: one claims, one replays, and one finds it taken', async () => {
    const parcel = await scene.parcel();
    const { bookTogether } = scene.instance(TOGETHER);
    const first = told(await bookTogether(parcel));
    // As if somebody had set the row back to an attempt of its own.
    await stage.database.query(`UPDATE parcel SET state = 'WAITING', attempt = 2 WHERE id = ?`, parcel);
    const holder = await stage.database.connect();
    await holder.begin('READ COMMITTED');
    await holder.query('SELECT 1 FROM parcel WHERE id = ? FOR UPDATE', parcel);
    const sizes = batchSizes();
    const stuck = bookTogether(parcel, { key: `${parcel}-second` });
    await until(async () => (await stage.database.waitingForLocks()) === 1);
    const others = [bookTogether(parcel, { key: `${parcel}-third` }), bookTogether(parcel)];
    // Their turn is over after a second, and in the next they wait together.
    await until(() => [...sizes.values()].flat().includes(3));
    await until(async () => (await stage.database.waitingForLocks()) === 1);
    await holder.query('COMMIT');
    const outcomes = await Promise.all([stuck, ...others]);
    const words = outcomes.map((outcome) =>
      outcome.outcome === 'refused' ? outcome.reason : outcome.outcome,
    );
    expect(words.slice(0, 2).toSorted()).toEqual(['done', 'wrong-state']);
    expect(told(outcomes[2] as never)).toEqual({ ...(first as object), replayed: true });
    expect(scene.receiver.made(parcel)).toBe(2);
  });

  test('a call that is settled is not completed once more under the same fence', async () => {
    const parcel = await scene.parcel();
    const { bookTogether } = scene.instance(TOGETHER);
    const first = told(await bookTogether(parcel));
    const sql = stage.database.open({ over: 'together', connections: 1 });
    const call = { id: { scope: SCOPE_TEXT, key: parcel }, fence: 1, retentionMs: 1_000 };
    const answer = { status: 200, headers: {}, body: Buffer.from('another') };
    const again = sql.dialect.durableCallBatch.completeFenced('pawl_durable_call', [{ ...call, answer }]);
    const completed = readThenWrite(sql, [], () => ({ writes: again, result: () => 'completed' }));
    await expect(completed).rejects.toMatchObject({ code: 'REJECTED', effect: 'none' });
    expect(told(await bookTogether(parcel))).toEqual({ ...(first as object), replayed: true });
  });

  test('whose record is gone has lost his fence, and is told so at once', async () => {
    const parcel = await scene.parcel();
    scene.receiver.script('send', (async (honestly: () => unknown) => {
      const answer = await honestly();
      await stage.database.query('DELETE FROM pawl_durable_call WHERE subject = ?', parcel);
      return answer;
    }) as never);
    const began = performance.now();
    const outcome = await scene.instance(TOGETHER).bookTogether(parcel);
    expect(outcome.outcome).toBe('unknown');
    expect(performance.now() - began).toBeLessThan(2_000);
    expect(await stage.rows(parcel)).toMatchObject({ state: 'BOOKING', receipts: 0 });
  });

  test('what can no longer be completed is compensated, and what is beside it is completed', async () => {
    const [late = '', other = ''] = await parcels(2);
    scene.receiver.script('send', async (honestly) => {
      await stage.database.query(`UPDATE parcel SET state = 'WITHDRAWN' WHERE id = ?`, late);
      return honestly();
    });
    const { bookTogether } = scene.instance(TOGETHER);
    const [first, second] = await Promise.all([bookTogether(late), bookTogether(other)]);
    expect(told(first)).toEqual(answered(410, 'canceled'));
    expect(second).toMatchObject({ outcome: 'done' });
    expect(await stage.rows(late)).toMatchObject({ state: 'CANCELED', receipts: 0 });
    expect(scene.receiver.standing(late)).toBe(0);
    await expectBookedOnce(other);
  });

  describe('the answer to the COMMIT of a batch is lost', () => {
    async function through(fate: CommitFate, which: number) {
      const fateOf = (commit: number) => (commit === which ? fate : 'passes');
      // There a message is a transaction by itself, and the first of each kind has the texts of its statements.
      const isTransaction = (data: Buffer) => data.includes('pawl_durable_call');
      const needsNoCommit = isOptimistic && name === 'postgres';
      const proxy = await startProxy(stage.database.url, fateOf, needsNoCommit ? isTransaction : undefined);
      onTestFinished(() => proxy.close());
      return scene.instance({ groups: { pool: { port: proxy.port } } });
    }

    test('of claims that were carried out: each is told, nothing is sent, and recovery goes on', async () => {
      const given = await parcels(3);
      const { bookTogether } = await through('answer-lost', 1);
      const outcomes = await Promise.allSettled(given.map((parcel) => bookTogether(parcel)));
      const lost = { status: 'rejected', reason: { name: 'StoreError', effect: 'unknown' } };
      expect(outcomes).toMatchObject([lost, lost, lost]);
      expect(scene.receiver.heard).toEqual([]);
      expect(await bookTogether(given[0] ?? '')).toMatchObject(refused('in-progress'));
      for (const parcel of given) await stage.endLease(parcel);
      expect(await scene.instance().calls.recover()).toBe(3);
      for (const parcel of given) await expectBookedOnce(parcel);
    });

    test('of claims that never arrived: the same requests are new ones', async () => {
      const given = await parcels(2);
      const { bookTogether } = await through('request-lost', 1);
      const outcomes = await Promise.allSettled(given.map((parcel) => bookTogether(parcel)));
      expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
      for (const parcel of given) expect(await bookTogether(parcel)).toMatchObject({ outcome: 'done' });
      for (const parcel of given) await expectBookedOnce(parcel);
    });

    test('of settlements that were carried out: each answer is the true one, and nobody is alarmed', async () => {
      const given = await parcels(3);
      const { bookTogether, events } = await through('answer-lost', 2);
      const outcomes = await Promise.all(given.map((parcel) => bookTogether(parcel)));
      for (const outcome of outcomes) expect(outcome).toMatchObject({ outcome: 'done', replayed: true });
      expect(events).toEqual([]);
      for (const parcel of given) await expectBookedOnce(parcel);
    });

    test('of settlements that never arrived: each is told to be unknown, and recovery settles it', async () => {
      const given = await parcels(3);
      const { bookTogether, events } = await through('request-lost', 2);
      const outcomes = await Promise.all(given.map((parcel) => bookTogether(parcel)));
      expect(outcomes).toEqual(given.map(() => unknown('NOT_RECORDED')));
      expect(events.map(({ kind }) => kind)).toEqual(['failed', 'failed', 'failed']);
      for (const parcel of given) await stage.endLease(parcel);
      expect(await scene.instance().calls.recover()).toBe(3);
      for (const parcel of given) await expectBookedOnce(parcel);
    });
  });

  test('when too many wait, a claim is refused before anything is sent', async () => {
    const given = await parcels(3);
    const { bookTogether } = scene.instance({ groups: { maxWaiting: 1 } });
    const outcomes = await Promise.all(given.map((parcel) => bookTogether(parcel)));
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['done', 'refused', 'refused']);
    expect(outcomes.slice(1)).toEqual([refused('overloaded'), refused('overloaded')]);
    expect(scene.receiver.heard).toEqual([`send ${given[0]}:1`]);
    expect(await scene.call(given[1] ?? '')).toBeUndefined();
  });

  test('when too many wait, a settlement is written alone: its effect is there', async () => {
    const parcel = await scene.parcel();
    let asked = 0;
    const { bookTogether } = scene.instance({
      ...TOGETHER,
      store: (store) => ({
        ...store,
        ...(store.groups && {
          groups: {
            ...store.groups,
            settlements: () => async () => {
              asked++;
              return refused('overloaded');
            },
          },
        }),
      }),
    });
    expect(told(await bookTogether(parcel))).toEqual(booked());
    expect(asked).toBe(1);
    await expectBookedOnce(parcel);
  });

  test('an answer may tell what the database has made of the writes', async () => {
    const given = await parcels(3);
    const { bookTogether } = scene.instance({
      ...TOGETHER,
      definition: ({ grouped }) => ({
        ...(grouped && {
          grouped: {
            ...grouped,
            settlements: {
              ...grouped.settlements,
              // What is not known before it is written.
              optimistic: () => undefined,
              decide(settlements, read, waited) {
                const decided = grouped.settlements.decide(settlements, read, waited);
                const reading = stage.database.statement(
                  `SELECT parcel, booking + 1000 AS told FROM receipt WHERE parcel IN (?, ?, ?)`,
                  ...given,
                );
                return {
                  settle(settlement) {
                    const settled = decided.settle(settlement);
                    if (settled === HELD || settled.outcome !== 'done') return settled;
                    return done((written) => {
                      const rows = written.at(-1)?.rows ?? [];
                      const its = rows.find((row) => row.parcel === settlement.call.subject);
                      return { status: 201, headers: {}, body: Buffer.from(`told ${its?.told}`) };
                    });
                  },
                  writes: () => [...decided.writes(), reading],
                };
              },
            },
          },
        }),
      }),
    });
    const outcomes = await Promise.all(given.map((parcel) => bookTogether(parcel)));
    const bodies = outcomes.map((outcome) => told(outcome));
    expect(bodies).toEqual(
      expect.arrayContaining([1, 2, 3].map((booking) => answered(201, `told ${1000 + booking}`))),
    );
    const again = await Promise.all(given.map((parcel) => bookTogether(parcel)));
    expect(again.map((outcome) => told(outcome))).toEqual(
      bodies.map((body) => ({ ...(body as object), replayed: true })),
    );
    for (const parcel of given) await expectBookedOnce(parcel);
  });

  test('without groups nothing is claimed together', async () => {
    const parcel = await scene.parcel();
    await expect(scene.instance().bookTogether(parcel)).rejects.toMatchObject({ name: 'MisuseError' });
    expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING' });
  });
});
