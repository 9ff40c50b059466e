import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { durableCallRules } from '../src/index.ts';
import {
  answered,
  booked,
  CALLS,
  HOUR_MS,
  type Instance,
  type InstanceOptions,
  openStage,
  rulesBut,
  type Scene,
  type Stage,
  told,
} from './durable-call-stage.ts';

/* R6 and R7: what recovery sends, how long it waits, and when it gives back what it has not found. */

const SILENT = { outcome: 'unknown', code: 'TIMEOUT' } as const;

describe.each(['postgres', 'mariadb'] as const)('%s', (name) => {
  let stage: Stage;
  let scene: Scene;
  let parcel: string;

  beforeAll(async () => {
    stage = await openStage(name);
  });

  afterAll(() => stage.close());

  async function begin(options?: Parameters<Stage['scene']>[0]): Promise<void> {
    scene = stage.scene(options);
    parcel = await scene.parcel();
  }

  beforeEach(() => begin());

  /** As if so much time had passed that nobody holds it any more. */
  async function recover({ calls }: Instance): Promise<number> {
    await stage.endLease(parcel);
    return calls.recover();
  }

  describe('R6: a message that is on its way, and no look-up finds it yet', () => {
    let arrives: () => unknown;

    beforeEach(async () => {
      await begin({ repeat: 'never' });
      scene.receiver.script('send', (honestly) => {
        arrives = honestly;
        return SILENT;
      });
      await scene.instance().book(parcel, { finalAfterMs: HOUR_MS });
    });

    const giveBack = { do: 'release', why: { reason: 'not-found', code: undefined } } as const;

    test('given back as soon as it is not found, it is booked and nobody knows', async () => {
      const rules = rulesBut((_, heard) =>
        heard.of === 'look-up' && heard.found.outcome === 'not-found' ? giveBack : undefined,
      );
      await recover(scene.instance({ rules }));
      arrives();
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING' });
      expect(scene.receiver.standing(parcel)).toBe(1);
    });

    test('it waits while it may still come, and settles it when it has', async () => {
      const other = scene.instance();
      await recover(other);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'BOOKING' });
      arrives();
      await recover(other);
      expect(told(await other.book(parcel))).toEqual(booked(true));
    });

    test('an end that is read after the look-up was sent says nothing about it', async () => {
      // It arrives after the look-up was answered, and before its end.
      scene.receiver.script('look-up', async (honestly) => {
        const found = honestly();
        arrives();
        await stage.makeFinal(parcel);
        return found;
      });
      const other = scene.instance();
      await recover(other);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'BOOKING' });
      await recover(other);
      expect(told(await other.book(parcel))).toEqual(booked(true));
    });

    test('one that is sent after the end was read is final', async () => {
      await stage.makeFinal(parcel);
      const other = scene.instance();
      await recover(other);
      expect(told(await other.book(parcel))).toEqual(answered(402, 'not-found TIMEOUT', true));
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING', attempt: 2 });
      expect(scene.receiver.made(parcel)).toBe(0);
    });

    test('a look-up that is not answered gives nothing back, also after the end', async () => {
      await stage.makeFinal(parcel);
      scene.receiver.script('look-up', () => ({ outcome: 'unknown', code: 'BAD_GATEWAY' }));
      await recover(scene.instance());
      expect(await scene.call(parcel)).toMatchObject({ state: 'unknown', code: 'BAD_GATEWAY' });
      expect(await stage.rows(parcel)).toMatchObject({ state: 'BOOKING' });
    });

    test('what never becomes final stays unknown', async () => {
      const endless = await scene.parcel();
      scene.receiver.script('send', () => SILENT);
      const owner = scene.instance();
      await owner.book(endless);
      await stage.makeFinal(parcel);
      await stage.endLease(endless);
      await owner.calls.recover();
      expect(await scene.call(endless)).toMatchObject({ state: 'unknown', isFinal: false });
    });
  });

  describe('R7: what recovery sends', () => {
    const asIdempotent = {
      next: (holding, heard) => durableCallRules.next({ ...holding, repeat: 'idempotent' }, heard),
    } satisfies InstanceOptions['rules'];

    /** It has had its effect, which a look-up does not find yet. */
    async function lagging(): Promise<void> {
      scene.receiver.script('send', (honestly) => {
        honestly();
        return SILENT;
      });
      scene.receiver.script('look-up', () => ({ outcome: 'not-found' }));
      await scene.instance().book(parcel, { finalAfterMs: HOUR_MS });
    }

    test('where tokens are honoured: looks up first, then the same message under the same token', async () => {
      await lagging();
      const other = scene.instance();
      await recover(other);
      expect(scene.receiver.heard).toEqual(['send', 'look-up', 'send'].map((what) => `${what} ${parcel}:1`));
      expect(told(await other.book(parcel))).toEqual(booked(true));
      expect(scene.receiver.made(parcel)).toBe(1);
    });

    test('where they are not, sending again books twice', async () => {
      await begin({ repeat: 'never' });
      await lagging();
      await recover(scene.instance({ rules: asIdempotent }));
      expect(scene.receiver.standing(parcel)).toBe(2);
    });

    test('where they are not, it is only looked up', async () => {
      await begin({ repeat: 'never' });
      await lagging();
      const other = scene.instance();
      await recover(other);
      expect(scene.receiver.heard).toEqual([`send ${parcel}:1`, `look-up ${parcel}:1`]);
      await recover(other);
      expect(told(await other.book(parcel))).toEqual(booked(true));
      expect(scene.receiver.made(parcel)).toBe(1);
    });

    test('a token of its own for every try books twice', async () => {
      await lagging();
      await recover(scene.instance({ rules: { token: ({ subject, fence }) => `${subject}:${fence}` } }));
      expect(scene.receiver.standing(parcel)).toBe(2);
    });

    test('after the end nothing is sent again', async () => {
      scene.receiver.script('send', () => SILENT);
      await scene.instance().book(parcel, { finalAfterMs: HOUR_MS });
      await stage.makeFinal(parcel);
      await recover(scene.instance());
      expect(scene.receiver.heard).toEqual([`send ${parcel}:1`, `look-up ${parcel}:1`]);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING' });
    });

    test('what cannot be sent again now waits for another time', async () => {
      scene.receiver.script(
        'send',
        () => SILENT,
        () => ({ outcome: 'not-sent', code: 'BREAKER_OPEN' }),
      );
      const owner = scene.instance();
      await owner.book(parcel);
      await owner.calls.recover();
      expect(await scene.call(parcel)).toMatchObject({ state: 'unknown', code: 'BREAKER_OPEN', fence: 2 });
    });

    test('its pauses double up to the longest, and do not go beyond the end', async () => {
      // What is left of a pause, as the database counted it when it was written.
      const pauseMs = async () => {
        const text = {
          postgres: `SELECT extract(epoch FROM lease_until - changed_at) AS s FROM ${CALLS} WHERE subject = ?`,
          mysql: `SELECT TIMESTAMPDIFF(MICROSECOND, changed_at, lease_until) / 1e6 AS s FROM ${CALLS} WHERE subject = ?`,
        };
        const { rows } = await stage.database.query(text[stage.database.kind], parcel);
        return Math.round(Number(rows[0]?.s)) * 1_000;
      };
      await begin({ repeat: 'never' });
      scene.receiver.script('send', () => SILENT);
      const recovery = { pauseMs: 100_000, maxPauseMs: 300_000, jitter: 0 };
      const owner = scene.instance({ recovery });
      await owner.book(parcel, { finalAfterMs: HOUR_MS });
      const pauses: number[] = [];
      for (let looks = 0; looks < 4; looks++) {
        await recover(owner);
        pauses.push(await pauseMs());
      }
      expect(pauses).toEqual([100_000, 200_000, 300_000, 300_000]);
      await recover(
        scene.instance({ recovery: { pauseMs: 2 * HOUR_MS, maxPauseMs: 2 * HOUR_MS, jitter: 0 } }),
      );
      expect(await pauseMs()).toBeLessThanOrEqual(HOUR_MS);
    });
  });

  describe('several at once', () => {
    test('of two that recover the same calls each is taken by one, and settled once', async () => {
      const parcels: string[] = [];
      for (let count = 0; count < 10; count++) {
        const one = await scene.parcel();
        parcels.push(one);
        scene.receiver.script('send', (honestly) => {
          honestly();
          return SILENT;
        });
        await scene.instance().book(one);
      }
      const instances = [scene.instance(), scene.instance(), scene.instance()];
      const counts = await Promise.all(instances.map(({ calls }) => calls.recover()));
      const taken = counts.reduce((sum, count) => sum + count);
      // Who found all of them taken went away with fewer.
      expect(taken + (await scene.instance().calls.recover())).toBe(10);
      for (const one of parcels)
        expect(await stage.rows(one)).toMatchObject({ state: 'BOOKED', receipts: 1 });
      expect(scene.receiver.heard.filter((what) => what.startsWith('look-up'))).toHaveLength(10);
    });

    test('at most so many at a time, and none of another name', async () => {
      const another = stage.scene().instance();
      const owner = scene.instance({ recovery: { most: 2 } });
      for (let count = 0; count < 4; count++) {
        scene.receiver.script('send', () => SILENT);
        await owner.book(await scene.parcel());
      }
      expect(await another.calls.recover()).toBe(0);
      expect([await owner.calls.recover(1), await owner.calls.recover()]).toEqual([1, 2]);
      expect([await owner.calls.recover(), await owner.calls.recover()]).toEqual([1, 0]);
    });
  });
});
