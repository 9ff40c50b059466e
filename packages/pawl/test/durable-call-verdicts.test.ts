import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier } from '../../../test/barrier.ts';
import { type Resolution, refused, resolveDurableCall, type SqlPort } from '../src/index.ts';
import {
  answered,
  booked,
  type Instance,
  openStage,
  SCOPE_TEXT,
  type Scene,
  type Stage,
  told,
  unknown,
} from './durable-call-stage.ts';

/* What an operator has found out is applied by the next instance that recovers, with the service's own rows. */

const SILENT = { outcome: 'unknown', code: 'TIMEOUT' } as const;

describe.each(['postgres', 'mariadb'] as const)('%s', (name) => {
  let stage: Stage;
  let sql: SqlPort;
  let scene: Scene;
  let parcel: string;

  beforeAll(async () => {
    stage = await openStage(name);
    sql = stage.database.open();
  });

  afterAll(() => stage.close());

  beforeEach(async () => {
    scene = stage.scene({ repeat: 'never' });
    parcel = await scene.parcel();
  });

  const resolve = (resolution: Resolution) =>
    resolveDurableCall(sql, { scope: SCOPE_TEXT, key: parcel, ...resolution });

  /** @returns what was asked of the receiver meanwhile. */
  async function recovered({ calls }: Instance): Promise<string[]> {
    const before = scene.receiver.heard.length;
    expect(await calls.recover()).toBe(1);
    return scene.receiver.heard.slice(before).map((what) => what.replace(` ${parcel}:1`, ''));
  }

  describe('of a call whose outcome nobody knows', () => {
    let instance: Instance;

    beforeEach(async () => {
      scene.receiver.script('send', () => SILENT);
      instance = scene.instance();
      await instance.book(parcel);
    });

    test('done, with what it came to: it is settled, and nobody is asked', async () => {
      expect(await resolve({ verdict: 'done', value: { booking: 7 } })).toMatchObject({ outcome: 'done' });
      expect(await instance.book(parcel)).toEqual(unknown('TIMEOUT'));
      expect(await recovered(instance)).toEqual([]);
      expect(told(await instance.book(parcel))).toEqual(booked(true, 7));
      expect(await stage.rows(parcel)).toEqual({ state: 'BOOKED', attempt: 1, receipts: 1 });
    });

    test('done, and it can no longer be completed: it is undone, once', async () => {
      await stage.database.query(`UPDATE parcel SET state = 'WITHDRAWN' WHERE id = ?`, parcel);
      await resolve({ verdict: 'done', value: { booking: 7 } });
      scene.receiver.script('cancel', () => SILENT);
      expect(await recovered(instance)).toEqual(['cancel:cancel:1']);
      // The verdict was about the booking: whoever takes over next does not read it as "canceled".
      await stage.endLease(parcel);
      scene.receiver.script('look-up-cancel', () => ({ outcome: 'standing' }));
      expect(await recovered(instance)).toEqual(['look-up-cancel:cancel:1', 'cancel:cancel:1']);
      expect(told(await instance.book(parcel))).toEqual(answered(410, 'canceled', true));
    });

    test('not done: its subject is given back', async () => {
      await resolve({ verdict: 'not-done' });
      expect(await recovered(instance)).toEqual([]);
      expect(told(await instance.book(parcel))).toEqual(answered(402, 'operator', true));
      expect(await stage.rows(parcel)).toEqual({ state: 'WAITING', attempt: 2, receipts: 0 });
    });

    test('undone: the same', async () => {
      await resolve({ verdict: 'undone' });
      expect(await recovered(instance)).toEqual([]);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING', attempt: 2 });
    });

    test('whoever was at it is fenced off', async () => {
      const arrived = barrier(2);
      const goesOn = barrier(2);
      scene.receiver.script('look-up', async () => {
        await arrived();
        await goesOn();
        return { outcome: 'done', value: { booking: 7 } };
      });
      const late = instance.calls.recover();
      await arrived();
      expect(await resolve({ verdict: 'not-done' })).toEqual(refused('in-progress'));
      await stage.endLease(parcel);
      expect(await resolve({ verdict: 'not-done' })).toMatchObject({ outcome: 'done' });
      await goesOn();
      await late;
      expect(await scene.call(parcel)).toMatchObject({ state: 'unknown', verdict: 'not-done' });
      await recovered(instance);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING', receipts: 0 });
    });
  });

  describe('of a call that is stuck', () => {
    /** It is booked, and its parcel is in a state that nobody has thought of. */
    async function stuck(): Promise<Instance> {
      scene.receiver.script('send', async (honestly) => {
        const sent = honestly();
        await stage.database.query(`UPDATE parcel SET state = 'LOST' WHERE id = ?`, parcel);
        return sent;
      });
      const instance = scene.instance();
      expect(await instance.book(parcel)).toEqual(unknown('CANNOT_COMPENSATE'));
      expect(await instance.calls.recover()).toBe(0);
      return instance;
    }

    test('retry: it is looked up again, and settled where it can be', async () => {
      const instance = await stuck();
      await stage.database.query(`UPDATE parcel SET state = 'BOOKING' WHERE id = ?`, parcel);
      await resolve({ retry: true });
      expect(await recovered(instance)).toEqual(['look-up']);
      expect(told(await instance.book(parcel))).toEqual(booked(true));
    });

    test('retry: or is stuck as before, and the operator is told', async () => {
      const instance = await stuck();
      await resolve({ retry: true });
      expect(await recovered(instance)).toEqual(['look-up']);
      expect(await scene.call(parcel)).toMatchObject({ state: 'stuck', fence: 3 });
      expect(instance.events.map(({ kind }) => kind)).toEqual(['stuck', 'stuck']);
    });
  });

  describe('of what is being undone', () => {
    let instance: Instance;

    beforeEach(async () => {
      scene.receiver.script('send', async (honestly) => {
        const sent = honestly();
        await stage.database.query(`UPDATE parcel SET state = 'WITHDRAWN' WHERE id = ?`, parcel);
        return sent;
      });
      scene.receiver.script('cancel', () => SILENT);
      instance = scene.instance();
      await instance.book(parcel);
      await stage.endLease(parcel);
    });

    test('undone: it is over, and nobody is asked', async () => {
      await resolve({ verdict: 'undone' });
      expect(await recovered(instance)).toEqual([]);
      expect(told(await instance.book(parcel))).toEqual(answered(410, 'canceled', true));
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED' });
    });

    test('retry: its compensation goes on, under the same token', async () => {
      await resolve({ retry: true });
      expect(await recovered(instance)).toEqual(['look-up-cancel:cancel:1', 'cancel:cancel:1']);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED' });
    });
  });
});
