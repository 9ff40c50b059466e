import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mortal } from './durable-call-mortal.ts';
import type { Receiver } from './durable-call-receiver.ts';
import { HOUR_MS, type Instance, openStage, type Scene, type Stage } from './durable-call-stage.ts';

/*
 * Whoever dies, at each of his steps in turn: those who live finish it, what the receiver has done and what the rows say agree, and
 * the same request has one answer for ever.
 */

/** What a booking may come to: the state of the parcel, how often the courier was booked, and how many bookings stand. */
type End = readonly [state: string, made: number, standing: number];

const BOOKED: End = ['BOOKED', 1, 1];
const GIVEN_BACK: End = ['WAITING', 0, 0];
const CANCELED: End = ['CANCELED', 1, 0];

interface Path {
  /** What the receiver does with the first message. */
  readonly script: (receiver: Receiver, withdraw: () => Promise<unknown>) => void;
  readonly ends: readonly End[];
}

const booked: Path = { script: () => undefined, ends: [BOOKED] };
/** Who comes after him has not heard it, and may send it once more. */
const declined: Path = {
  script: (receiver) => receiver.script('send', () => ({ outcome: 'refused', code: 'FULL' })),
  ends: [GIVEN_BACK, BOOKED],
};
const answerLost: Path = {
  script: (receiver) =>
    receiver.script('send', (honestly) => {
      honestly();
      return { outcome: 'unknown', code: 'TIMEOUT' };
    }),
  ends: [BOOKED],
};
const messageLost: Path = {
  script: (receiver) => receiver.script('send', () => ({ outcome: 'unknown', code: 'TIMEOUT' })),
  ends: [BOOKED],
};
const notSent: Path = {
  script: (receiver) => receiver.script('send', () => ({ outcome: 'not-sent', code: 'BREAKER_OPEN' })),
  ends: [BOOKED],
};
/** It is withdrawn while it is booked, and nobody hears of the booking or of its first cancellation, as `lost` says. */
const canceled = (lost: 'nothing' | 'booking' | 'cancellation'): Path => ({
  script(receiver, withdraw) {
    receiver.script('send', async (honestly) => {
      const sent = honestly();
      await withdraw();
      return lost === 'booking' ? { outcome: 'unknown', code: 'TIMEOUT' } : sent;
    });
    if (lost === 'cancellation') receiver.script('cancel', () => ({ outcome: 'unknown', code: 'TIMEOUT' }));
  },
  ends: [CANCELED],
});

const CLAIM = ['claim before', 'claim within', 'claim after', 'send before', 'send after'];
/** As the store has it: a settlement, a release, and the beginning and the end of a compensation. */
const SETTLE = ['settle before', 'settle within', 'settle after'];
const TAKE_OVER = ['take over before', 'take over after', 'look-up before', 'look-up after'];
const UNDO = ['find before', 'find after', ...SETTLE, 'cancel before', 'cancel after', ...SETTLE];

describe.each(['postgres', 'mariadb'] as const)('%s', (name) => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await openStage(name);
  });

  afterAll(() => stage.close());

  /** Its client asks until he is answered, of those who live, and one of them recovers; after a while its end is past. */
  async function finish(scene: Scene, parcel: string) {
    const living = scene.instance();
    for (let asks = 1; asks <= 8; asks++) {
      const outcome = await living.book(parcel, { finalAfterMs: HOUR_MS });
      if (outcome.outcome === 'done') return outcome;
      if (asks > 4) await stage.makeFinal(parcel);
      await stage.endLease(parcel);
      await living.calls.recover();
    }
    throw new Error(`not settled: ${JSON.stringify(await scene.call(parcel))}`);
  }

  /** Lets `work` be done by somebody who dies at its first step, then at its second, and so on. @returns these steps. */
  async function atEachStep(
    path: Path,
    prepare: (scene: Scene, parcel: string) => Promise<unknown>,
    work: (instance: Instance, parcel: string) => Promise<unknown>,
  ): Promise<string[]> {
    const steps: string[] = [];
    for (;;) {
      const scene = stage.scene();
      const parcel = await scene.parcel();
      const withdrawn = `UPDATE parcel SET state = 'WITHDRAWN' WHERE id = ?`;
      path.script(scene.receiver, () => stage.database.query(withdrawn, parcel));
      await prepare(scene, parcel);
      const dying = mortal(scene.receiver, steps.length + 1);
      await Promise.race([work(scene.instance(dying.options), parcel), dying.died]);
      const at = dying.at();
      const outcome = await finish(scene, parcel);

      const { receiver } = scene;
      const { state } = await stage.rows(parcel);
      const end = [state, receiver.made(parcel), receiver.standing(parcel)];
      expect(path.ends, `${at}: ${receiver.heard}`).toContainEqual(end);
      expect(await scene.instance().book(parcel), at).toEqual({ ...outcome, replayed: true });
      if (at === undefined) return steps;
      steps.push(at);
    }
  }

  const owner = (path: Path) =>
    atEachStep(
      path,
      async () => undefined,
      ({ book }, parcel) => book(parcel, { finalAfterMs: HOUR_MS }),
    );

  /** Its owner has left it, as `path` says, and has not heard of it since. */
  const recovery = (path: Path) =>
    atEachStep(
      path,
      async (scene, parcel) => {
        await scene.instance().book(parcel, { finalAfterMs: HOUR_MS });
        await stage.endLease(parcel);
      },
      ({ calls }) => calls.recover(),
    );

  describe('its owner dies', () => {
    test('it is booked', async () => {
      expect(await owner(booked)).toEqual([...CLAIM, ...SETTLE]);
    });

    test('it is declined', async () => {
      expect(await owner(declined)).toEqual([...CLAIM, ...SETTLE]);
    });

    test.each([
      ['its answer', answerLost],
      ['his message', messageLost],
    ])('%s is lost', async (_, path) => {
      expect(await owner(path)).toEqual([...CLAIM, 'change before', 'change after']);
    });

    test('it is not sent', async () => {
      expect(await owner(notSent)).toEqual([...CLAIM, 'forget before', 'forget within', 'forget after']);
    });

    test('it can no longer be completed', async () => {
      expect(await owner(canceled('nothing'))).toEqual([...CLAIM, ...SETTLE, ...UNDO]);
    });
  });

  describe('who recovers it dies', () => {
    test('its answer was lost', async () => {
      expect(await recovery(answerLost)).toEqual([...TAKE_OVER, ...SETTLE]);
    });

    test('it never arrived', async () => {
      expect(await recovery(messageLost)).toEqual([...TAKE_OVER, 'send before', 'send after', ...SETTLE]);
    });

    test('it can no longer be completed', async () => {
      expect(await recovery(canceled('booking'))).toEqual([...TAKE_OVER, ...SETTLE, ...UNDO]);
    });

    test('nobody knows whether it was canceled', async () => {
      expect(await recovery(canceled('cancellation'))).toEqual([
        ...['take over before', 'take over after', 'look-up-cancel before', 'look-up-cancel after'],
        ...['cancel before', 'cancel after', ...SETTLE],
      ]);
    });
  });
});
