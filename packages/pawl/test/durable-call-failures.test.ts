import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type CommitFate, startProxy } from '../../../test/proxy.ts';
import { type DurableCallOptions, done, refused, StoreError } from '../src/index.ts';
import {
  answered,
  booked,
  type Definition,
  type InstanceOptions,
  openStage,
  type Scene,
  type Stage,
  told,
  unknown,
} from './durable-call-stage.ts';

/* What goes wrong between an instance and its store, and what is asked of a call that it cannot be asked. */

const throws = () => Promise.reject(new Error('of the hook'));

describe.each(['postgres', 'mariadb'] as const)('%s', (name) => {
  let stage: Stage;
  let scene: Scene;
  let parcel: string;

  beforeAll(async () => {
    stage = await openStage(name);
  });

  afterAll(() => stage.close());

  beforeEach(async () => {
    scene = stage.scene();
    parcel = await scene.parcel();
  });

  /** Recovery has finished it, wherever it was: booked once, written down once. */
  async function expectBookedOnce(): Promise<void> {
    expect(await stage.rows(parcel)).toEqual({ state: 'BOOKED', attempt: 1, receipts: 1 });
    expect(scene.receiver.made(parcel)).toBe(1);
    expect(told(await scene.instance().book(parcel))).toEqual(booked(true));
  }

  async function recoverWith(options: InstanceOptions = {}): Promise<void> {
    await stage.endLease(parcel);
    expect(await scene.instance(options).calls.recover()).toBe(1);
  }

  describe('a hook that throws', () => {
    test('in the claim: nothing is left, nothing was sent, and the error is the caller’s', async () => {
      const { calls } = scene.instance();
      const request = { scope: ['member 1'], key: parcel, payload: '' };
      const claim = calls.run(request, async (transaction) => {
        const text = `UPDATE parcel SET state = 'BOOKING' WHERE id = ?`;
        await transaction.execute(stage.database.statement(text, parcel));
        return throws();
      });
      await expect(claim).rejects.toThrow('of the hook');
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING' });
      expect(scene.receiver.heard).toEqual([]);
    });

    test('in the settlement: rolled back, told, not sent again, and recovered when the lease is over', async () => {
      const owner = scene.instance({
        definition: ({ settle }) => ({
          async settle(...given) {
            await settle(...given);
            return throws();
          },
        }),
      });
      expect(await owner.book(parcel)).toEqual(unknown('NOT_RECORDED'));
      expect(owner.events).toMatchObject([
        { kind: 'failed', call: { subject: parcel, fence: 1 }, cause: new Error('of the hook') },
      ]);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'BOOKING', receipts: 0 });
      expect(await owner.calls.recover()).toBe(0);
      await recoverWith();
      expect(scene.receiver.heard).toEqual([`send ${parcel}:1`, `look-up ${parcel}:1`]);
      await expectBookedOnce();
    });

    test('an answer that is none is not stored, and rolls back', async () => {
      const owner = scene.instance({
        definition: () => ({ settle: async () => done({ status: 99, body: Buffer.from('') }) }),
      });
      expect(await owner.book(parcel)).toEqual(unknown('NOT_RECORDED'));
      expect(owner.events).toMatchObject([{ kind: 'failed', cause: { name: 'MisuseError' } }]);
      await recoverWith();
      await expectBookedOnce();
    });

    test('while it recovers: the next one goes on', async () => {
      scene.receiver.script('send', (honestly) => {
        honestly();
        return { outcome: 'unknown', code: 'TIMEOUT' };
      });
      await scene.instance().book(parcel);
      const failing = scene.instance({ definition: () => ({ settle: throws }) });
      expect(await failing.calls.recover()).toBe(1);
      expect(failing.events).toMatchObject([{ kind: 'failed', call: { fence: 2 } }]);
      await recoverWith();
      await expectBookedOnce();
    });

    test('a look-up that throws is unknown: it is looked up again', async () => {
      scene.receiver.script('send', () => ({ outcome: 'unknown', code: 'TIMEOUT' }));
      scene.receiver.script('look-up', () => {
        throw new Error('socket hang up');
      });
      const owner = scene.instance();
      await owner.book(parcel);
      await owner.calls.recover();
      expect(await scene.call(parcel)).toMatchObject({ state: 'unknown', code: 'THREW' });
      await recoverWith();
      await expectBookedOnce();
    });
  });

  describe('the answer to a COMMIT is lost', () => {
    /** An instance whose n-th COMMIT has this fate. */
    async function through(fate: CommitFate, which: number) {
      const proxy = await startProxy(stage.database.url, (commit) => (commit === which ? fate : 'passes'));
      onTestFinished(() => proxy.close());
      return scene.instance({ pool: { port: proxy.port } });
    }

    const LOST = { name: 'StoreError', effect: 'unknown' };

    test('of the claim, which was carried out: nothing is sent; recovery goes on with it', async () => {
      await expect((await through('answer-lost', 1)).book(parcel)).rejects.toMatchObject(LOST);
      expect(scene.receiver.heard).toEqual([]);
      expect(await scene.instance().book(parcel)).toMatchObject(refused('in-progress'));
      await recoverWith();
      expect(scene.receiver.heard).toEqual([`look-up ${parcel}:1`, `send ${parcel}:1`]);
      await expectBookedOnce();
    });

    test('of the claim, which never arrived: the same request is a new one', async () => {
      await expect((await through('request-lost', 1)).book(parcel)).rejects.toMatchObject(LOST);
      expect(told(await scene.instance().book(parcel))).toEqual(booked());
      expect(scene.receiver.heard).toEqual([`send ${parcel}:1`]);
    });

    test('of the settlement, which was carried out: the answer is the true one, and nobody is alarmed', async () => {
      const owner = await through('answer-lost', 2);
      expect(told(await owner.book(parcel))).toEqual(booked(true));
      expect(owner.events).toEqual([]);
      await expectBookedOnce();
    });

    test('of the settlement, which never arrived: recovery finds what was sent, and settles', async () => {
      const owner = await through('request-lost', 2);
      expect(await owner.book(parcel)).toEqual(unknown('NOT_RECORDED'));
      expect(owner.events).toMatchObject([{ kind: 'failed', cause: { name: 'StoreError' } }]);
      await recoverWith();
      await expectBookedOnce();
    });

    test('of a release, which was carried out: the decline is the answer', async () => {
      scene.receiver.script('send', () => ({ outcome: 'refused', code: 'FULL' }));
      const owner = await through('answer-lost', 2);
      expect(told(await owner.book(parcel))).toEqual(answered(402, 'declined FULL', true));
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING', attempt: 2 });
    });
  });

  test('a store that cannot be asked for calls to take over fails, and takes none', async () => {
    const cause = new StoreError('UNAVAILABLE', 'none', 'no connection');
    const { calls } = scene.instance({ store: (s) => ({ ...s, takeOver: () => Promise.reject(cause) }) });
    await expect(calls.recover()).rejects.toBe(cause);
  });

  describe('misuse, before anything is written or sent', () => {
    const MISUSE = { name: 'MisuseError', code: 'MISUSE' };

    test.each<DurableCallOptions>([
      { leaseMs: 0 },
      { leaseMs: 0.5 },
      { retentionMs: Number.NaN },
      { recovery: { everyMs: 2 ** 31 } },
      { recovery: { everyMs: 0 } },
      { recovery: { most: 0 } },
      { recovery: { most: 1.5 } },
      { recovery: { pauseMs: 0 } },
      { recovery: { maxPauseMs: -1 } },
      { recovery: { jitter: 1.1 } },
      { recovery: { jitter: Number.NaN } },
      { storedHeaders: ['Set-Cookie'] },
    ])('%o', (options) => {
      expect(() => scene.instance(options)).toThrow(expect.objectContaining(MISUSE));
    });

    test.each(['', 'a\nb', '\ud800', 'a'.repeat(65)])('the name %j', (given) => {
      expect(() => scene.instance({ definition: () => ({ name: given }) })).toThrow(
        expect.objectContaining(MISUSE),
      );
    });

    test.each([
      { subject: '' },
      { subject: 'a\u0000' },
      { subject: 'a'.repeat(256) },
      { attempt: 0 },
      { attempt: 1.5 },
      { finalAfterMs: 0.5 },
    ])('a claim of %o', async (given) => {
      const { calls } = scene.instance();
      const attempt = { subject: parcel, attempt: 1, request: { parcel }, ...given };
      const request = { scope: ['member 1'], key: `misuse ${parcel}`, payload: '' };
      await expect(calls.run(request, async () => done(attempt))).rejects.toMatchObject(MISUSE);
      const adopt = async () => done({ ...attempt, state: 'stuck' as const, value: { booking: 1 } });
      await expect(calls.adopt(request, adopt)).rejects.toMatchObject(MISUSE);
      expect(await calls.recover()).toBe(0);
      expect(scene.receiver.heard).toEqual([]);
    });

    test('a key that no client may send', async () => {
      await expect(scene.instance().book(parcel, { key: '' })).rejects.toMatchObject({
        code: 'INVALID_KEY',
      });
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING' });
    });

    test('what has no compensation cannot be compensated, nor adopted', async () => {
      const claim = () => Promise.reject(new Error('the claim ran'));
      const { calls } = stage.scene({ compensates: false }).instance();
      await expect(calls.compensate({ subject: parcel, attempt: 1 }, claim)).rejects.toMatchObject(MISUSE);
      await expect(calls.adopt({ scope: ['a'], key: 'b' }, claim)).rejects.toMatchObject(MISUSE);
    });

    test('how many to recover', async () => {
      await expect(scene.instance().calls.recover(0)).rejects.toMatchObject(MISUSE);
    });
  });

  test('names and subjects may be as long as they may be, in any script', async () => {
    const subject = '소포🎟'.repeat(85);
    const { calls } = scene.instance({
      definition: ({ lookUp, settle: _, ...rest }: Definition) => ({
        ...rest,
        lookUp,
        name: '예약'.repeat(32),
        settle: async () => done({ status: 201, body: Buffer.from('') }),
      }),
    });
    const request = { scope: ['member 1'], key: `long ${parcel}`, payload: '' };
    const claim = async () => done({ subject, attempt: 1, request: { parcel } });
    expect(await calls.run(request, claim)).toMatchObject({ outcome: 'done', replayed: false });
    expect(scene.receiver.heard).toEqual([`send ${subject}:1`]);
    expect(await calls.run(request, claim)).toMatchObject({ outcome: 'done', replayed: true });
  });
});
