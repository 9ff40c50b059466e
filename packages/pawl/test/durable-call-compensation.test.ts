import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier } from '../../../test/barrier.ts';
import {
  answered,
  type Instance,
  openStage,
  rulesBut,
  type Scene,
  type Stage,
  told,
  unknown,
} from './durable-call-stage.ts';

/* R8: what can no longer be completed is undone: once, and whoever dies. */

const SILENT = { outcome: 'unknown', code: 'TIMEOUT' } as const;
const REJECTED = { outcome: 'refused', code: 'REJECTED' } as const;

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

  const setState = (state: string) =>
    stage.database.query('UPDATE parcel SET state = ? WHERE id = ?', state, parcel);

  /** Books a courier for a parcel that is withdrawn meanwhile, so that the booking cannot be settled. */
  function bookWithdrawn({ book }: Instance, state = 'WITHDRAWN') {
    scene.receiver.script('send', async (honestly) => {
      const sent = honestly();
      await setState(state);
      return sent;
    });
    return book(parcel);
  }

  async function recover({ calls }: Instance): Promise<number> {
    await stage.endLease(parcel);
    return calls.recover();
  }

  /** What was said about the cancellation, in order: `cancel 1`, by the number of its try. */
  const cancels = () =>
    scene.receiver.heard
      .filter((what) => what.includes('cancel'))
      .map((what) => what.replace(` ${parcel}:1:cancel:`, ' '));

  describe('what can no longer be completed', () => {
    test('is undone; the intent is committed before the receiver hears of it, and the answer is stored', async () => {
      const owner = scene.instance();
      scene.receiver.script('cancel', async (honestly, call) => {
        expect(call).toMatchObject({ token: `${parcel}:1:cancel:1`, value: { booking: 1 } });
        expect(await scene.call(parcel)).toMatchObject({
          state: 'compensating',
          value: { booking: 1 },
          compensationTry: 1,
        });
        expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELING', receipts: 0 });
        return honestly();
      });
      expect(told(await bookWithdrawn(owner))).toEqual(answered(410, 'canceled'));
      expect(await scene.call(parcel)).toMatchObject({ state: 'compensated', fence: 1 });
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED' });
      expect(told(await scene.instance().book(parcel))).toEqual(answered(410, 'canceled', true));
      expect([scene.receiver.made(parcel), scene.receiver.canceled(parcel)]).toEqual([1, 1]);
    });

    test('without a compensation it is left to an operator, and nobody takes it over', async () => {
      await begin({ compensates: false });
      const owner = scene.instance();
      expect(await bookWithdrawn(owner)).toEqual(unknown('CANNOT_SETTLE'));
      expect(owner.events).toMatchObject([
        { kind: 'stuck', code: 'CANNOT_SETTLE', call: { subject: parcel } },
      ]);
      expect(await scene.call(parcel)).toMatchObject({ state: 'stuck', leaseLeftMs: undefined });
      expect(await owner.calls.recover()).toBe(0);
      expect(await owner.book(parcel)).toEqual(unknown('CANNOT_SETTLE'));
    });

    test('and where the caller’s rows refuse that too: nothing of it is written or sent', async () => {
      const owner = scene.instance();
      expect(await bookWithdrawn(owner, 'LOST')).toEqual(unknown('CANNOT_COMPENSATE'));
      expect(owner.events).toMatchObject([{ kind: 'stuck', code: 'CANNOT_COMPENSATE' }]);
      expect(await scene.call(parcel)).toMatchObject({ state: 'stuck', leaseLeftMs: undefined });
      expect(cancels()).toEqual([]);
    });

    test('by a version that has no compensation any more it is left to an operator, with what it had come to', async () => {
      scene.receiver.script('cancel', () => SILENT);
      await bookWithdrawn(scene.instance());
      const older = scene.instance({
        definition: ({ settle: _, ...given }) => ({ ...given, compensation: undefined }) as never,
      });
      await recover(older);
      expect(await scene.call(parcel)).toMatchObject({ state: 'stuck', value: { booking: 1 } });
      expect(older.events).toMatchObject([{ kind: 'stuck', code: 'CANNOT_COMPENSATE' }]);
    });

    test('the owner is overtaken before he writes the intent: he sends nothing, and is given the true answer', async () => {
      const arrived = barrier(2);
      const goesOn = barrier(2);
      const late = scene.instance({
        definition: ({ settle }) => ({
          async settle(...given) {
            const settled = await settle(...given);
            if (settled.outcome === 'refused') {
              await arrived();
              await goesOn();
            }
            return settled;
          },
        }),
      });
      const outcome = bookWithdrawn(late);
      await arrived();
      await recover(scene.instance());
      await goesOn();
      expect(told(await outcome)).toEqual(answered(410, 'canceled', true));
      expect(cancels()).toEqual(['cancel 1']);
      expect(late.events).toEqual([]);
    });
  });

  describe('one token for every try', () => {
    /** The cancellation has had its effect; its answer, and then the look-up, lag behind. */
    function lagging(): void {
      scene.receiver.script('cancel', (honestly) => {
        honestly();
        return SILENT;
      });
      scene.receiver.script('look-up-cancel', () => ({ outcome: 'standing' }));
    }

    test('a new one after a silence undoes twice', async () => {
      const rules = {
        compensationToken: ({ subject, fence }: { subject: string; fence: number }) => `${subject}:${fence}`,
      };
      lagging();
      expect(await bookWithdrawn(scene.instance({ rules }))).toEqual(unknown('TIMEOUT'));
      await recover(scene.instance({ rules }));
      expect(scene.receiver.canceled(parcel)).toBe(2);
    });

    test('the same one undoes once', async () => {
      lagging();
      expect(await bookWithdrawn(scene.instance())).toEqual(unknown('TIMEOUT'));
      await recover(scene.instance());
      expect(cancels()).toEqual(['cancel 1', 'look-up-cancel 1', 'cancel 1']);
      expect(scene.receiver.canceled(parcel)).toBe(1);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED' });
    });

    /** The refusal is recorded under the first token, and given again for ever. */
    function refusing(): void {
      const recorded = () =>
        scene.receiver.script('cancel', (honestly, { token }) => {
          recorded();
          return token.endsWith(':1') ? REJECTED : honestly();
        });
      recorded();
    }

    test('one that is never left after a refusal is refused for ever', async () => {
      const rules = rulesBut((_, heard) =>
        heard.of === 'compensation-look-up' && heard.found.outcome === 'standing' && heard.afterRefusal
          ? { do: 'leave', state: 'compensating', takenOver: 'later' }
          : undefined,
      );
      refusing();
      await bookWithdrawn(scene.instance({ rules }));
      for (let looks = 0; looks < 5; looks++) await recover(scene.instance({ rules }));
      expect(scene.receiver.standing(parcel)).toBe(1);
    });

    test('after a refusal, and a look-up that shows it standing, the next try has the next one', async () => {
      refusing();
      await bookWithdrawn(scene.instance());
      expect(await scene.call(parcel)).toMatchObject({ state: 'compensating', compensationTry: 2 });
      await recover(scene.instance());
      expect(cancels()).toEqual(['cancel 1', 'look-up-cancel 1', 'look-up-cancel 2', 'cancel 2']);
      expect(scene.receiver.canceled(parcel)).toBe(1);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED' });
    });

    test.each([{ outcome: 'not-found' }, { outcome: 'unknown', code: 'BAD_GATEWAY' }] as const)(
      'after a refusal and a look-up that shows nothing ($outcome) it stays',
      async (found) => {
        scene.receiver.script('cancel', () => REJECTED);
        scene.receiver.script('look-up-cancel', () => found);
        await bookWithdrawn(scene.instance());
        expect(await scene.call(parcel)).toMatchObject({ state: 'compensating', compensationTry: 1 });
      },
    );

    test('a refusal of what is undone all the same is no refusal', async () => {
      scene.receiver.script('cancel', (honestly) => {
        honestly();
        return REJECTED;
      });
      expect(told(await bookWithdrawn(scene.instance()))).toEqual(answered(410, 'canceled'));
      expect(cancels()).toEqual(['cancel 1', 'look-up-cancel 1']);
    });
  });

  describe('a look-up of it', () => {
    /** Nobody knows whether it was undone; the receiver was asked to. */
    async function leave(undone: boolean, options?: Parameters<Stage['scene']>[0]): Promise<void> {
      await begin(options);
      scene.receiver.script('cancel', (honestly) => {
        if (undone) honestly();
        return SILENT;
      });
      await bookWithdrawn(scene.instance());
    }

    test('that shows it undone ends it, and nothing is sent', async () => {
      await leave(true);
      await recover(scene.instance());
      expect(cancels()).toEqual(['cancel 1', 'look-up-cancel 1']);
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED' });
    });

    test('that finds nothing: given up, it stands and nobody undoes it', async () => {
      await leave(false);
      scene.receiver.script('look-up-cancel', () => ({ outcome: 'not-found' }));
      const rules = rulesBut((_, heard) =>
        heard.of === 'compensation-look-up' && heard.found.outcome === 'not-found'
          ? { do: 'end-compensation' }
          : undefined,
      );
      await recover(scene.instance({ rules }));
      expect(await stage.rows(parcel)).toMatchObject({ state: 'CANCELED' });
      expect(scene.receiver.standing(parcel)).toBe(1);
    });

    test('that finds nothing: it is known to have come about, so it is undone', async () => {
      await leave(false);
      scene.receiver.script('look-up-cancel', () => ({ outcome: 'not-found' }));
      await recover(scene.instance());
      expect(scene.receiver.standing(parcel)).toBe(0);
    });

    test('that is not answered: where tokens are honoured it is sent again, else it waits', async () => {
      const unanswered = () => ({ outcome: 'unknown', code: 'BAD_GATEWAY' }) as const;
      await leave(true);
      scene.receiver.script('look-up-cancel', unanswered);
      await recover(scene.instance());
      expect(cancels()).toEqual(['cancel 1', 'look-up-cancel 1', 'cancel 1']);
      expect(scene.receiver.canceled(parcel)).toBe(1);

      await leave(true, { repeat: 'never' });
      scene.receiver.script('look-up-cancel', unanswered);
      await recover(scene.instance());
      expect(cancels()).toEqual(['cancel 1', 'look-up-cancel 1']);
      expect(await scene.call(parcel)).toMatchObject({ state: 'compensating', code: 'BAD_GATEWAY' });
    });
  });
});
