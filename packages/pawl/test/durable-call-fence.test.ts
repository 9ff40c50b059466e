import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier } from '../../../test/barrier.ts';
import {
  answered,
  booked,
  HOUR_MS,
  type Instance,
  type InstanceOptions,
  openStage,
  rulesBut,
  type Scene,
  type Stage,
  told,
  unfenced,
  unknown,
} from './durable-call-stage.ts';

/* Somebody has taken the call over: what its owner may still write, and what is believed of a decline. */

const SILENT = { outcome: 'unknown', code: 'TIMEOUT' } as const;
const DECLINED = { outcome: 'refused', code: 'FULL' } as const;

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

  /** As if so much time had passed that nobody holds it any more. */
  async function recover({ calls }: Instance): Promise<number> {
    await stage.endLease(parcel);
    return calls.recover();
  }

  /** An owner who stands still before his message leaves, or before he hears its answer. */
  async function stalled(when: 'before' | 'after', options: InstanceOptions = {}) {
    const arrived = barrier(2);
    const goesOn = barrier(2);
    scene.receiver.script('send', async (honestly) => {
      if (when === 'before') {
        await arrived();
        await goesOn();
        return honestly();
      }
      const answer = honestly();
      await arrived();
      await goesOn();
      return answer;
    });
    const owner = scene.instance(options);
    const outcome = owner.book(parcel, { finalAfterMs: HOUR_MS });
    await arrived();
    return { owner, outcome, goesOn };
  }

  describe('the owner is overtaken between his message and his settlement', () => {
    /** Settles without asking the parcel’s row: it trusts the fence. */
    const trusting: InstanceOptions['definition'] = () => ({
      async settle(transaction, { subject }, { booking }) {
        const text = 'INSERT INTO receipt VALUES (?, ?)';
        await transaction.execute(stage.database.statement(text, subject, booking));
        return { outcome: 'done', replayed: false, value: { status: 201, body: Buffer.from('booked 1') } };
      },
    });

    test('without the fence it is settled twice', async () => {
      const { outcome, goesOn } = await stalled('after', { definition: trusting, store: unfenced });
      await recover(scene.instance({ definition: trusting }));
      await goesOn();
      await outcome;
      expect(await stage.rows(parcel)).toMatchObject({ receipts: 2 });
    });

    test('with it, once, and its caller is given the true answer', async () => {
      const { owner, outcome, goesOn } = await stalled('after', { definition: trusting });
      await recover(scene.instance({ definition: trusting }));
      await goesOn();
      expect(told(await outcome)).toEqual(booked(true));
      expect(await stage.rows(parcel)).toMatchObject({ receipts: 1 });
      expect(owner.events).toEqual([]);
    });

    test('while recovery is still at it, it is unknown to him', async () => {
      const { outcome, goesOn } = await stalled('after');
      scene.receiver.script('look-up', () => SILENT);
      await recover(scene.instance());
      await goesOn();
      expect(await outcome).toEqual(unknown('TIMEOUT'));
      expect(await scene.call(parcel)).toMatchObject({ state: 'unknown', fence: 2 });
      expect(await stage.rows(parcel)).toMatchObject({ state: 'BOOKING', receipts: 0 });
    });

    test.each([
      DECLINED,
      SILENT,
      { outcome: 'not-sent', code: 'BREAKER_OPEN' },
      { outcome: 'done', value: { booking: 1 } },
    ] as const)('what he hears then writes nothing: $outcome', async (heard) => {
      const arrived = barrier(2);
      const goesOn = barrier(2);
      scene.receiver.script('send', async (honestly) => {
        honestly();
        await arrived();
        await goesOn();
        return heard;
      });
      const owner = scene.instance();
      const outcome = owner.book(parcel);
      await arrived();
      await recover(scene.instance());
      const before = await scene.call(parcel);
      await goesOn();
      expect(told(await outcome)).toEqual(booked(true));
      expect(await scene.call(parcel)).toEqual({ ...before, ageMs: expect.any(Number) });
      expect(await stage.rows(parcel)).toEqual({ state: 'BOOKED', attempt: 1, receipts: 1 });
      // That his hooks find the parcel elsewhere is no failure.
      expect(owner.events).toEqual([]);
    });

    test('so is a recovery that another one overtakes', async () => {
      await stalled('after');
      const arrived = barrier(2);
      const goesOn = barrier(2);
      scene.receiver.script('look-up', async (honestly) => {
        const found = honestly();
        await arrived();
        await goesOn();
        return found;
      });
      const slow = scene.instance();
      const recovering = recover(slow);
      await arrived();
      expect(await recover(scene.instance())).toBe(1);
      await goesOn();
      await recovering;
      expect(await stage.rows(parcel)).toEqual({ state: 'BOOKED', attempt: 1, receipts: 1 });
      expect(await scene.call(parcel)).toMatchObject({ state: 'done', fence: 3 });
      expect(slow.events).toEqual([]);
    });
  });

  describe('R2: the owner stands still before he sends; recovery sends, and is declined', () => {
    test('a decline that is believed after a takeover: given back and booked anew, and then he goes on', async () => {
      const believing = rulesBut(({ call }, heard) =>
        call.fence > 1 && heard.of === 'send' && heard.sent.outcome === 'refused'
          ? { do: 'release', why: { reason: 'declined', code: heard.sent.code } }
          : undefined,
      );
      const { outcome, goesOn } = await stalled('before');
      scene.receiver.script('send', () => DECLINED);
      const other = scene.instance({ rules: believing });
      await recover(other);
      expect(told(await other.book(parcel, { key: `${parcel} again` }))).toEqual(booked());
      await goesOn();
      await outcome;
      expect(scene.receiver.standing(parcel)).toBe(2);
    });

    test('it is noted and only looked up from then on, until the effect is found', async () => {
      const { outcome, goesOn } = await stalled('before');
      scene.receiver.script('send', () => DECLINED);
      const other = scene.instance();
      await recover(other);
      expect(await scene.call(parcel)).toMatchObject({ state: 'looking', code: 'FULL', answer: undefined });
      expect(await other.book(parcel)).toEqual(unknown('FULL'));
      await recover(other);
      expect(await scene.call(parcel)).toMatchObject({ state: 'looking', code: 'FULL' });
      await goesOn();
      await outcome;
      await recover(other);
      expect(told(await other.book(parcel))).toEqual(booked(true));
      expect(scene.receiver.heard).toEqual(
        ['send', 'look-up', 'send', 'look-up', 'look-up'].map((what) => `${what} ${parcel}:1`),
      );
      expect(scene.receiver.made(parcel)).toBe(1);
    });

    test('or nothing can come any more: then it is given back, with the decline that was noted', async () => {
      await stalled('before');
      scene.receiver.script('send', () => DECLINED);
      const other = scene.instance();
      await recover(other);
      await stage.makeFinal(parcel);
      await recover(other);
      expect(told(await other.book(parcel))).toEqual(answered(402, 'not-found FULL', true));
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING', attempt: 2 });
    });
  });
});
