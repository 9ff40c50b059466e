import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { type FailpointName, failpointNames } from '../src/failpoint/names.ts';
import { done, type SqlTransaction } from '../src/index.ts';
import type { Booking } from './durable-call-receiver.ts';
import { HOUR_MS, type Instance, openStage, type Scene, type Stage } from './durable-call-stage.ts';

/*
 * Every failpoint is passed by somebody: one that no run visits proves nothing, whoever is to die there. The recovery race of the lab
 * lets somebody die at each.
 */

const visited = vi.hoisted(() => new Set<string>());

vi.mock('#failpoint', () => ({ failpoint: (name: string) => void visited.add(name) }));

const TIMEOUT = { outcome: 'unknown', code: 'TIMEOUT' } as const;

let stage: Stage;
let scene: Scene;
let parcel: string;
let instance: Instance;

beforeAll(async () => {
  stage = await openStage('postgres');
});

afterAll(() => stage.close());

beforeEach(async () => {
  scene = stage.scene();
  parcel = await scene.parcel();
  instance = scene.instance();
  visited.clear();
});

const book = () => instance.book(parcel, { finalAfterMs: HOUR_MS });

async function recover(): Promise<void> {
  await stage.endLease(parcel);
  expect(await instance.calls.recover()).toBe(1);
}

async function bookUnheard(): Promise<void> {
  scene.receiver.script('send', () => TIMEOUT);
  await book();
}

/** It never arrived, so it is sent again. */
async function bookAndRecover(): Promise<void> {
  await bookUnheard();
  await recover();
}

/** It is withdrawn while it is booked, and can no longer be completed. */
async function bookTooLate(): Promise<void> {
  scene.receiver.script('send', async (honestly) => {
    await stage.database.query(`UPDATE parcel SET state = 'WITHDRAWN' WHERE id = ?`, parcel);
    return honestly();
  });
  await book();
}

async function markCanceling(transaction: SqlTransaction): Promise<Booking> {
  await transaction.execute(
    stage.database.statement(`UPDATE parcel SET state = 'CANCELING' WHERE id = ?`, parcel),
  );
  return { booking: 1 };
}

async function takeBack(): Promise<void> {
  await book();
  await instance.calls.compensate({ subject: parcel, attempt: 1 }, async (transaction) =>
    done({ value: await markCanceling(transaction) }),
  );
}

async function takeBackUnheard(): Promise<void> {
  scene.receiver.script('cancel', () => TIMEOUT);
  await takeBack();
}

/** How each step is come by. */
const paths: Readonly<Record<string, () => Promise<unknown>>> = {
  'durable-call.claim': book,
  'durable-call.send': book,
  'durable-call.settle': book,
  'durable-call.decline': () => {
    scene.receiver.script('send', () => ({ outcome: 'refused', code: 'FULL' }));
    return book();
  },
  'durable-call.unknown': bookUnheard,
  'durable-call.forget': () => {
    scene.receiver.script('send', () => ({ outcome: 'not-sent', code: 'BREAKER_OPEN' }));
    return book();
  },
  'durable-call.take-over': bookAndRecover,
  'durable-call.look-up': bookAndRecover,
  'durable-call.send-again': bookAndRecover,
  'durable-call.wait': () => {
    scene.receiver.script('look-up', () => TIMEOUT);
    return bookAndRecover();
  },
  'durable-call.release': async () => {
    await bookUnheard();
    await stage.makeFinal(parcel);
    await recover();
  },
  'compensation.begin': bookTooLate,
  'compensation.send': bookTooLate,
  'compensation.end': bookTooLate,
  'compensation.reopen': takeBack,
  'compensation.wait': takeBackUnheard,
  'compensation.look-up': async () => {
    await takeBackUnheard();
    await recover();
  },
  'compensation.adopt': () =>
    instance.calls.adopt({ scope: ['found'], key: parcel }, async (transaction) => {
      const value = await markCanceling(transaction);
      return done({ state: 'compensating', subject: parcel, attempt: 1, request: { parcel }, value });
    }),
};

const stepOf = (name: FailpointName) => name.slice(0, name.lastIndexOf('.'));

test.each(failpointNames)('%s', async (name) => {
  const path = paths[stepOf(name)];
  if (path === undefined) expect.fail('nobody comes by');
  await path();
  expect([...visited]).toContain(name);
});

test('who claims and settles together with others passes them too', async () => {
  await scene.instance({ groups: {} }).bookTogether(parcel);
  const steps = ['durable-call.claim', 'durable-call.send', 'durable-call.settle'];
  expect([...visited].toSorted()).toEqual(
    failpointNames.filter((name) => steps.includes(stepOf(name))).toSorted(),
  );
});
