import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { barrier, together } from '../../../test/barrier.ts';
import { done, refused } from '../src/index.ts';
import {
  answered,
  booked,
  openStage,
  rulesBut,
  type Scene,
  type Stage,
  told,
  unknown,
} from './durable-call-stage.ts';

/* What the owner of a call does: claims, sends once, and settles, declines, gives up or forgets. */

const RACERS = 9;
const DECLINED = { outcome: 'refused', code: 'FULL' } as const;
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

  describe('a call that succeeds', () => {
    test('of nine that race on three instances one sends; the others are refused, and later given its answer', async () => {
      const instances = Array.from({ length: RACERS }, () => scene.instance());
      const allOthersAnswered = barrier(RACERS);
      scene.receiver.script('send', async (honestly) => {
        await allOthersAnswered();
        return honestly();
      });
      const outcomes = await together(RACERS, async (index) => {
        const outcome = await instances[index]?.book(parcel);
        if (outcome?.outcome === 'refused') void allOthersAnswered();
        return outcome ?? unknown('no instance');
      });
      expect(outcomes.filter(({ outcome }) => outcome === 'done').map(told)).toEqual([booked()]);
      expect(outcomes.filter(({ outcome }) => outcome === 'refused')).toEqual(
        Array(RACERS - 1).fill({ ...refused('in-progress'), retryAfterMs: expect.any(Number) }),
      );
      expect(scene.receiver.heard).toEqual([`send ${parcel}:1`]);
      expect(await stage.rows(parcel)).toEqual({ state: 'BOOKED', attempt: 1, receipts: 1 });
      expect(told(await scene.instance().book(parcel))).toEqual(booked(true));
    });

    test('the intent is committed before it is sent, and no connection is held meanwhile', async () => {
      const owner = scene.instance({ pool: { connections: 1, acquireTimeoutMs: 1_000 } });
      scene.receiver.script('send', async (honestly) => {
        expect(await scene.call(parcel)).toMatchObject({ state: 'calling', fence: 1, request: { parcel } });
        expect(await stage.rows(parcel)).toMatchObject({ state: 'BOOKING' });
        // Its pool has but one.
        expect(await owner.calls.recover()).toBe(0);
        return honestly();
      });
      expect(told(await owner.book(parcel))).toEqual(booked());
      expect(owner.events).toEqual([]);
    });

    test('its answer is replayed byte by byte, with the listed headers and no others', async () => {
      const first = await scene.instance().book(parcel);
      const headers = { 'content-type': 'text/plain' };
      const value = { status: 201, headers, body: Buffer.from('booked 1') };
      expect(first).toEqual(done(value));
      expect(await scene.instance().book(parcel)).toEqual(done(value, { replayed: true }));
    });
  });

  describe('what makes a request another one', () => {
    test('the same key with another payload is refused, while it runs and after', async () => {
      const other = scene.instance();
      const mismatch = () => other.book(parcel, { payload: '{ }' });
      scene.receiver.script('send', async (honestly) => {
        expect(await mismatch()).toEqual(refused('payload-mismatch'));
        return honestly();
      });
      expect(told(await scene.instance().book(parcel))).toEqual(booked());
      expect(await mismatch()).toEqual(refused('payload-mismatch'));
    });

    test('in another scope it is another: its own claim decides', async () => {
      const [owner, other] = [scene.instance(), await scene.parcel()];
      await owner.book(parcel);
      const scope = ['member 2', 'POST /couriers'];
      expect(await owner.book(parcel, { scope })).toEqual(refused('wrong-state'));
      expect(told(await owner.book(other, { scope, key: parcel }))).toEqual(booked(false, 2));
    });

    test('a claim that is refused leaves nothing, and its key is as free as before', async () => {
      const owner = scene.instance();
      scene.receiver.script('send', async () => {
        expect(await owner.book(parcel, { key: `${parcel} again` })).toEqual(refused('wrong-state'));
        return DECLINED;
      });
      await owner.book(parcel);
      expect(await scene.call(parcel, `${parcel} again`)).toBeUndefined();
      expect(told(await owner.book(parcel, { key: `${parcel} again` }))).toEqual(booked());
    });

    test('an attempt that somebody else has, which its claim did not see, is contended', async () => {
      const { calls, book } = scene.instance();
      await book(parcel);
      const blind = { scope: ['member 1'], key: `blind ${parcel}`, payload: '' };
      const outcome = await calls.run(blind, async () =>
        done({ subject: parcel, attempt: 1, request: { parcel } }),
      );
      expect(outcome).toEqual(refused('contended'));
      expect(scene.receiver.heard).toHaveLength(1);
    });
  });

  describe('R1: its message is on its way, and a second one would be declined', () => {
    let arrives: () => unknown;

    beforeEach(() =>
      scene.receiver.script(
        'send',
        (honestly) => {
          arrives = honestly;
          return SILENT;
        },
        () => DECLINED,
      ),
    );

    test('an owner that sends again gives back what is then booked', async () => {
      const rules = rulesBut((_, heard) =>
        heard.of === 'send' && heard.sent.outcome === 'unknown' ? { do: 'send' } : undefined,
      );
      expect(told(await scene.instance({ rules }).book(parcel))).toEqual(answered(402, 'declined FULL'));
      arrives();
      expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING' });
      expect(scene.receiver.standing(parcel)).toBe(1);
    });

    test('he sends once, and leaves it; whoever is declined later does not believe it', async () => {
      const owner = scene.instance();
      await owner.book(parcel);
      expect(scene.receiver.heard).toEqual([`send ${parcel}:1`]);
      await owner.calls.recover();
      arrives();
      expect(await stage.rows(parcel)).toMatchObject({ state: 'BOOKING' });
      await stage.endLease(parcel);
      await owner.calls.recover();
      expect(await stage.rows(parcel)).toMatchObject({ state: 'BOOKED' });
      expect(scene.receiver.made(parcel)).toBe(1);
    });
  });

  describe('R2, R3: a decline that its owner hears', () => {
    beforeEach(() => scene.receiver.script('send', () => DECLINED));

    test('releases, and is stored with the release and no sooner', async () => {
      const other = scene.instance();
      const meanwhile: unknown[] = [];
      const owner = scene.instance({
        definition: ({ release }) => ({
          async release(...given) {
            meanwhile.push(await other.book(parcel));
            return release(...given);
          },
        }),
      });
      expect(told(await owner.book(parcel))).toEqual(answered(402, 'declined FULL'));
      expect(meanwhile).toMatchObject([refused('in-progress')]);
      expect(await scene.call(parcel)).toMatchObject({ state: 'released', code: 'FULL', fence: 1 });
      expect(told(await other.book(parcel))).toEqual(answered(402, 'declined FULL', true));
      expect(await stage.rows(parcel)).toEqual({ state: 'WAITING', attempt: 2, receipts: 0 });
    });

    test('a release that throws stores no decline: the request is unknown, and nothing is given back', async () => {
      const owner = scene.instance({
        definition: () => ({ release: () => Promise.reject(new Error('of the hook')) }),
      });
      expect(await owner.book(parcel)).toEqual(unknown('NOT_RECORDED'));
      expect(owner.events).toMatchObject([{ kind: 'failed', cause: new Error('of the hook') }]);
      expect(await scene.call(parcel)).toMatchObject({ state: 'calling', answer: undefined });
      expect(await stage.rows(parcel)).toMatchObject({ state: 'BOOKING', attempt: 1 });
    });

    test('one token for all attempts: what was declined once is declined for ever; with one for each, the next succeeds', async () => {
      // A receiver that gives a recorded answer again under its token.
      const remembering = (token: string) => () =>
        scene.receiver.script('send', (honestly, call) => (call.token === token ? DECLINED : honestly()));
      const one = scene.instance({ rules: { token: ({ subject }) => subject } });
      await one.book(parcel);
      remembering(parcel)();
      expect(told(await one.book(parcel, { key: `${parcel} again` }))).toEqual(
        answered(402, 'declined FULL'),
      );

      const second = await scene.parcel();
      scene.receiver.script('send', () => DECLINED);
      const each = scene.instance();
      await each.book(second);
      remembering(`${second}:1`)();
      expect(told(await each.book(second, { key: `${second} again` }))).toEqual(booked());
      expect(scene.receiver.heard.slice(2)).toEqual([`send ${second}:1`, `send ${second}:2`]);
    });

    test('where the number of the attempt does not grow, nobody can attempt it again', async () => {
      const owner = scene.instance({
        definition: () => ({
          async release(transaction, { subject }) {
            const text = `UPDATE parcel SET state = 'WAITING' WHERE id = ?`;
            await transaction.execute(stage.database.statement(text, subject));
            return { status: 402, body: Buffer.from('') };
          },
        }),
      });
      await owner.book(parcel);
      expect(await owner.book(parcel, { key: `${parcel} again` })).toEqual(refused('contended'));
    });
  });

  describe('R4: an outcome that its owner does not hear', () => {
    test('ends his lease; the same request is unknown until it is settled, then given the answer', async () => {
      const [owner, other] = [scene.instance(), scene.instance()];
      scene.receiver.script('send', (honestly) => {
        honestly();
        return SILENT;
      });
      expect(await owner.book(parcel)).toEqual(unknown('TIMEOUT'));
      expect(owner.events).toMatchObject([{ kind: 'unknown', code: 'TIMEOUT', call: { subject: parcel } }]);
      expect(await other.book(parcel)).toEqual(unknown('TIMEOUT'));
      expect(await other.calls.recover()).toBe(1);
      expect(told(await owner.book(parcel))).toEqual(booked(true));
      expect(await owner.book(parcel)).toEqual(await other.book(parcel));
      expect(scene.receiver.heard).toEqual([`send ${parcel}:1`, `look-up ${parcel}:1`]);
    });

    test('with a lease that goes on it would not be recovered before its end', async () => {
      const rules = rulesBut((_, heard) =>
        heard.of === 'send' ? { do: 'leave', state: 'calling', takenOver: 'later' } : undefined,
      );
      const recovery = { pauseMs: 3_600_000, maxPauseMs: 3_600_000 };
      const owner = scene.instance({ rules, recovery });
      await owner.book(parcel);
      expect(await owner.calls.recover()).toBe(0);
    });

    test('what throws on the way out is no less unknown', async () => {
      const owner = scene.instance();
      scene.receiver.script('send', (honestly) => {
        honestly();
        throw new Error('socket hang up');
      });
      expect(await owner.book(parcel)).toEqual(unknown('THREW'));
      expect(owner.events).toMatchObject([
        { kind: 'failed', code: 'THREW', cause: new Error('socket hang up') },
        { kind: 'unknown', code: 'THREW' },
      ]);
      await owner.calls.recover();
      expect(told(await owner.book(parcel))).toEqual(booked(true));
    });

    test('a listener that throws changes nothing', async () => {
      scene.receiver.script('send', () => SILENT);
      const onEvent = () => {
        throw new Error('of the listener');
      };
      expect(await scene.instance({ onEvent }).book(parcel)).toEqual(unknown('TIMEOUT'));
    });

    test('while the lease lives it is in progress; when it is over, unknown', async () => {
      const arrived = barrier(2);
      const goesOn = barrier(2);
      scene.receiver.script('send', async (honestly) => {
        await arrived();
        await goesOn();
        return honestly();
      });
      const other = scene.instance();
      const late = scene.instance().book(parcel);
      await arrived();
      expect(await other.book(parcel)).toMatchObject(refused('in-progress'));
      await stage.endLease(parcel);
      expect(await other.book(parcel)).toEqual(unknown(undefined));
      await goesOn();
      // Nobody has taken it over, so it is still his.
      expect(told(await late)).toEqual(booked());
    });
  });

  test('what was not sent is forgotten, the claim with it: the same request may come again', async () => {
    scene.receiver.script('send', () => ({ outcome: 'not-sent', code: 'BREAKER_OPEN' }));
    const owner = scene.instance();
    expect(await owner.book(parcel)).toEqual({ ...refused('overloaded'), code: 'BREAKER_OPEN' });
    expect(await scene.call(parcel)).toBeUndefined();
    expect(await stage.rows(parcel)).toMatchObject({ state: 'WAITING', attempt: 2 });
    expect(told(await owner.book(parcel))).toEqual(booked());
    expect(scene.receiver.made(parcel)).toBe(1);
  });
});
