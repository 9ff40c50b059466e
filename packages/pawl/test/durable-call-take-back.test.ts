import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import { done, refused, type SqlTransaction } from '../src/index.ts';
import type { Booking } from './durable-call-receiver.ts';
import {
  answered,
  booked,
  type Instance,
  openStage,
  type Scene,
  type Stage,
  told,
  unknown,
} from './durable-call-stage.ts';

/* Undoing what is done, because somebody takes it back; and what was found without its intent. */

const SILENT = { outcome: 'unknown', code: 'TIMEOUT' } as const;

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

  const setState = (state: string) =>
    stage.database.query('UPDATE parcel SET state = ? WHERE id = ?', state, parcel);

  async function recover({ calls }: Instance): Promise<number> {
    await stage.endLease(parcel);
    return calls.recover();
  }

  /** What was said about the cancellation, in order: `cancel 1`, by the number of its try. */
  const cancels = () =>
    scene.receiver.heard
      .filter((what) => what.includes('cancel'))
      .map((what) => what.replace(` ${parcel}:1:cancel:`, ' '));

  describe('compensate: somebody takes back what is done', () => {
    /** BOOKED → CANCELING, and what is to be canceled. */
    const takeBack = async (transaction: SqlTransaction) => {
      const text = `UPDATE parcel SET state = 'CANCELING' WHERE id = ? AND state = 'BOOKED'`;
      const { affectedRows } = await transaction.execute(stage.database.statement(text, parcel));
      return affectedRows === 1 ? done({ value: { booking: 1 } satisfies Booking }) : refused('not-open');
    };
    const attempt = () => ({ subject: parcel, attempt: 1 });

    test('it is undone, and the request keeps the answer that it was given', async () => {
      const { calls, book } = scene.instance();
      await book(parcel);
      expect(await calls.compensate(attempt(), takeBack)).toMatchObject({ outcome: 'done' });
      expect(cancels()).toEqual(['cancel 1']);
      expect(await scene.call(parcel)).toMatchObject({ state: 'compensated', fence: 2 });
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED', receipts: 1 });
      expect(told(await book(parcel))).toEqual(booked(true));
    });

    test('of two who do one does, and it is undone once', async () => {
      await scene.instance().book(parcel);
      const instances = [scene.instance(), scene.instance()];
      const outcomes = await Promise.all(instances.map(({ calls }) => calls.compensate(attempt(), takeBack)));
      expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['done', 'refused']);
      expect(scene.receiver.canceled(parcel)).toBe(1);
    });

    test('what is not done, or not there, is not: nothing is written', async () => {
      const { calls, book } = scene.instance();
      const writing = async (transaction: SqlTransaction) => {
        await transaction.execute(stage.database.statement(`DELETE FROM parcel WHERE id = ?`, parcel));
        return done({ value: { booking: 1 } });
      };
      expect(await calls.compensate(attempt(), writing)).toEqual(refused('wrong-state'));
      scene.receiver.script('send', () => ({ outcome: 'refused', code: 'FULL' }));
      await book(parcel);
      expect(await calls.compensate(attempt(), writing)).toEqual(refused('wrong-state'));
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING' });
      expect(cancels()).toEqual([]);
    });

    test('a claim that refuses leaves it done', async () => {
      const { calls, book } = scene.instance();
      await book(parcel);
      await setState('COLLECTED');
      expect(await calls.compensate(attempt(), takeBack)).toEqual(refused('not-open'));
      expect(await scene.call(parcel)).toMatchObject({ state: 'done', fence: 1 });
    });

    test('who does is overtaken: it is unknown while recovery is at it, although the booking was answered', async () => {
      const { calls, book } = scene.instance();
      await book(parcel);
      const arrived = barrier(2);
      const goesOn = barrier(2);
      scene.receiver.script(
        'cancel',
        async () => {
          await arrived();
          await goesOn();
          return { outcome: 'done' };
        },
        () => SILENT,
      );
      const late = calls.compensate(attempt(), takeBack);
      await arrived();
      await recover(scene.instance());
      await goesOn();
      expect(await late).toEqual(unknown('TIMEOUT'));
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELING' });
      await recover(scene.instance());
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED' });
    });

    test('nobody hears whether it was: recovery finishes it', async () => {
      const { calls, book } = scene.instance();
      await book(parcel);
      scene.receiver.script('cancel', () => SILENT);
      expect(await calls.compensate(attempt(), takeBack)).toEqual(unknown('TIMEOUT'));
      // What it was answered with stays its answer meanwhile.
      expect(told(await book(parcel))).toEqual(booked(true));
      await recover(scene.instance());
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED' });
      expect(scene.receiver.canceled(parcel)).toBe(1);
    });
  });

  describe('adopt: an effect that was found without its intent', () => {
    const adopt = ({ calls }: Instance, state: 'compensating' | 'stuck', key = `found ${parcel}`) =>
      calls.adopt({ scope: ['reconciliation'], key }, async (transaction) => {
        const text = `UPDATE parcel SET state = 'CANCELING' WHERE id = ?`;
        await transaction.execute(stage.database.statement(text, parcel));
        const value = { booking: 1 };
        return done({ state, subject: parcel, attempt: 1, request: { parcel }, value, code: 'STRAY' });
      });

    /** A booking that nobody remembers. */
    beforeEach(() =>
      scene.receiver.send({ token: 'stray', subject: parcel, attempt: 1, request: { parcel } }),
    );

    test('is undone', async () => {
      expect(told(await adopt(scene.instance(), 'compensating'))).toEqual(answered(410, 'canceled'));
      expect(cancels()).toEqual(['cancel 1']);
      expect(scene.receiver.standing(parcel)).toBe(0);
    });

    test('of two who found it one does, and whoever comes later is told so', async () => {
      const instances = [scene.instance(), scene.instance()];
      const outcomes = await together(2, (index) => adopt(instances[index] as Instance, 'compensating'));
      expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['done', 'refused']);
      expect(await adopt(scene.instance(), 'compensating')).toEqual(refused('already-done'));
      expect(scene.receiver.canceled(parcel)).toBe(1);
    });

    test('is undone by recovery, when whoever found it dies', async () => {
      scene.receiver.script('cancel', () => new Promise(() => undefined));
      void adopt(scene.instance(), 'compensating');
      const other = scene.instance();
      await until(() => cancels().length === 1);
      await recover(other);
      expect(scene.receiver.canceled(parcel)).toBe(1);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED' });
    });

    test('or is left to an operator, who is told', async () => {
      const owner = scene.instance();
      expect(await adopt(owner, 'stuck')).toEqual(unknown('STRAY'));
      expect(owner.events).toMatchObject([{ kind: 'stuck', code: 'STRAY', call: { subject: parcel } }]);
      expect(await owner.calls.recover()).toBe(0);
      expect(cancels()).toEqual([]);
      expect(await adopt(owner, 'stuck')).toEqual(refused('already-done'));
    });

    test('that is none is not: nothing is recorded', async () => {
      const { calls } = scene.instance();
      const request = { scope: ['reconciliation'], key: `found ${parcel}` };
      expect(await calls.adopt(request, async () => refused('not-eligible'))).toEqual(
        refused('not-eligible'),
      );
      expect(told(await adopt(scene.instance(), 'compensating'))).toEqual(answered(410, 'canceled'));
    });
  });
});
