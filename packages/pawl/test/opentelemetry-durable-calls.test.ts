import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { instrumentPawl } from '../src/adapters/opentelemetry.ts';
import { done, refused, type SqlTransaction } from '../src/index.ts';
import { openStage, type Scene, type Stage } from './durable-call-stage.ts';
import { openTelemetry, toldOf } from './telemetry.ts';

/*
 * Durable calls and their compensation with each of their outcomes, and what is told of them: the outward steps and the
 * transactions, each before the operation that they are part of.
 */

const DECLINED = { outcome: 'refused', code: 'canary-full' } as const;
const NOT_SENT = { outcome: 'not-sent', code: 'canary-refused' } as const;
const SILENT = { outcome: 'unknown', code: 'canary-timeout' } as const;

let stage: Stage;
let scene: Scene;
let parcel: string;

beforeAll(async () => {
  stage = await openStage('postgres');
});

afterAll(() => stage.close());

beforeEach(async () => {
  scene = stage.scene();
  parcel = await scene.parcel();
});

const setState = (state: string) =>
  stage.database.query('UPDATE parcel SET state = ? WHERE id = ?', state, parcel);

const book = () => scene.instance().book(parcel);

async function recover(): Promise<number> {
  await stage.endLease(parcel);
  return scene.instance().calls.recover();
}

const attempt = () => ({ subject: parcel, attempt: 1 });

const takeBack = async (transaction: SqlTransaction) => {
  const text = `UPDATE parcel SET state = 'CANCELING' WHERE id = ? AND state = 'BOOKED'`;
  const { affectedRows } = await transaction.execute(stage.database.statement(text, parcel));
  return affectedRows === 1 ? done({ value: { booking: 1 } }) : refused('not-open');
};

const compensate = () => scene.instance().calls.compensate(attempt(), takeBack);

const adopt = (state: 'compensating' | 'stuck', subject = parcel) =>
  scene
    .instance()
    .calls.adopt({ scope: ['reconciliation'], key: subject }, async () =>
      done({ state, subject, attempt: 1, request: { parcel }, value: { booking: 1 }, code: 'canary-stray' }),
    );

type Case = readonly [title: string, use: () => Promise<unknown>, told: readonly string[]];

const COMPENSATED = ['compensation.send done', 'compensation.end done'];

const calls: readonly Case[] = [
  [
    'done, and replayed',
    async () => {
      await book();
      await book();
      await scene.instance().book(parcel, { payload: '[]' });
    },
    [
      'durable-call.send done',
      'durable-call.settle done',
      'durable-call.run done attempt 1',
      'durable-call.run done replayed',
      'durable-call.run refused payload-mismatch',
    ],
  ],
  [
    'its owner is at it',
    () => {
      scene.receiver.script('send', async (honestly) => {
        await book();
        return honestly();
      });
      return book();
    },
    [
      'durable-call.run refused in-progress',
      'durable-call.send done',
      'durable-call.settle done',
      'durable-call.run done attempt 1',
    ],
  ],
  [
    'a claim that is refused',
    async () => {
      await setState('BOOKED');
      await book();
    },
    ['durable-call.run refused wrong-state'],
  ],
  [
    'an attempt that is another’s',
    async () => {
      scene.receiver.script('send', () => SILENT);
      await book();
      await setState('WAITING');
      await scene.instance().book(parcel, { key: 'another' });
    },
    ['durable-call.send unknown', 'durable-call.run unknown attempt 1', 'durable-call.run refused contended'],
  ],
  [
    'declined',
    () => {
      scene.receiver.script('send', () => DECLINED);
      return book();
    },
    ['durable-call.send refused declined', 'durable-call.release done', 'durable-call.run done attempt 1'],
  ],
  [
    'not sent',
    () => {
      scene.receiver.script('send', () => NOT_SENT);
      return book();
    },
    [
      'durable-call.send refused not-sent',
      'durable-call.forget done',
      'durable-call.run refused overloaded attempt 1',
    ],
  ],
  ['a bad key', () => scene.instance().book(parcel, { key: '' }), ['durable-call.run failed INVALID_KEY']],
  [
    'a settlement that throws',
    () => {
      const settle = () => Promise.reject(new Error('canary'));
      return scene.instance({ definition: () => ({ settle }) }).book(parcel);
    },
    ['durable-call.send done', 'durable-call.settle failed _OTHER', 'durable-call.run unknown attempt 1'],
  ],
  [
    'one that cannot be completed any more is undone',
    () => {
      scene.receiver.script('send', async (honestly) => {
        await setState('WITHDRAWN');
        return honestly();
      });
      return book();
    },
    [
      'durable-call.send done',
      'durable-call.settle refused not-open',
      'compensation.begin done',
      ...COMPENSATED,
      'durable-call.run done attempt 1',
    ],
  ],
];

const recoveries: readonly Case[] = [
  [
    'not found, and sent again',
    async () => {
      scene.receiver.script('send', () => SILENT);
      await book();
      await recover();
    },
    [
      'durable-call.send unknown',
      'durable-call.run unknown attempt 1',
      'durable-call.look-up refused not-found',
      'durable-call.send done',
      'durable-call.settle done',
      'durable-call.recover done attempt 1 takeover',
    ],
  ],
  [
    'its owner was too late, and finds its rows settled',
    () => {
      scene.receiver.script('send', async (honestly) => {
        const sent = honestly();
        await recover();
        return sent;
      });
      return book();
    },
    [
      'durable-call.look-up done',
      'durable-call.settle done',
      'durable-call.recover done attempt 1 takeover',
      'durable-call.send done',
      'durable-call.settle refused not-open',
      'durable-call.run done replayed attempt 1',
    ],
  ],
  [
    'its owner was too late, and gives back what is settled',
    () => {
      scene.receiver.script('send', async (honestly) => {
        honestly();
        await recover();
        return DECLINED;
      });
      return book();
    },
    [
      'durable-call.look-up done',
      'durable-call.settle done',
      'durable-call.recover done attempt 1 takeover',
      'durable-call.send refused declined',
      'durable-call.release refused fenced',
      'durable-call.run done replayed attempt 1',
    ],
  ],
  [
    'a look-up that throws',
    async () => {
      scene.receiver.script('send', () => SILENT);
      scene.receiver.script('look-up', () => Promise.reject(new Error('canary')));
      await book();
      await recover();
    },
    [
      'durable-call.send unknown',
      'durable-call.run unknown attempt 1',
      'durable-call.look-up unknown',
      'durable-call.recover unknown attempt 1 takeover',
    ],
  ],
];

/** Of a call that is done. */
const compensations: readonly Case[] = [
  ['undone', compensate, [...COMPENSATED, 'compensation.run done attempt 1']],
  [
    'a refusal, and it stands',
    () => {
      scene.receiver.script('cancel', () => DECLINED);
      return compensate();
    },
    [
      'compensation.send refused declined',
      'compensation.look-up refused standing',
      'compensation.run unknown attempt 1',
    ],
  ],
  [
    'a claim that is refused',
    async () => {
      await setState('WAITING');
      await compensate();
    },
    ['compensation.run refused not-open'],
  ],
  [
    'no such attempt',
    async () => {
      await scene.instance().calls.compensate({ subject: parcel, attempt: 2 }, takeBack);
    },
    ['compensation.run refused wrong-state'],
  ],
  [
    'no compensation',
    () =>
      scene
        .instance({ definition: () => ({ compensation: undefined as never }) })
        .calls.compensate(attempt(), takeBack),
    ['compensation.run failed MISUSE'],
  ],
];

/** Of a parcel that was booked behind everybody's back. */
const adoptions: readonly Case[] = [
  [
    'left to an operator, and found again',
    async () => {
      await adopt('stuck');
      await adopt('stuck');
    },
    ['compensation.adopt unknown', 'compensation.adopt refused already-done'],
  ],
  [
    'undone',
    async () => {
      await setState('CANCELING');
      await adopt('compensating');
    },
    [...COMPENSATED, 'compensation.adopt done attempt 1'],
  ],
];

/** Without the guards that the caller's hooks use. */
async function toldOfCalls(use: () => Promise<unknown>): Promise<string[]> {
  return (await toldOf(use)).filter((told) => /^(durable-call|compensation)\./.test(told));
}

describe('a call', () => {
  test.each(calls)('%s', async (_, use, told) => {
    expect(await toldOfCalls(use)).toEqual(told);
  });
});

describe('recovery', () => {
  test.each(recoveries)('%s', async (_, use, told) => {
    expect(await toldOfCalls(use)).toEqual(told);
  });
});

describe('compensation', () => {
  test.each(compensations)('%s', async (_, use, told) => {
    await book();
    expect(await toldOfCalls(use)).toEqual(told);
  });
});

describe('adoption', () => {
  test.each(adoptions)('%s', async (_, use, told) => {
    expect(await toldOfCalls(use)).toEqual(told);
  });
});

test('its steps are below it, and its events are counted, also where nobody gave onEvent; no code, subject or message is told', async () => {
  const telemetry = openTelemetry();
  const stop = instrumentPawl(telemetry);
  const unreachable = new Error('canary');
  const instance = scene.instance({ onEvent: undefined as never });
  const blind = scene.instance({
    store: (store) => ({ ...store, takeOver: () => Promise.reject(unreachable) }),
    recovery: { everyMs: 60_000 },
  });
  try {
    scene.receiver.script('send', () => Promise.reject(unreachable));
    await instance.book(parcel);
    await adopt('stuck', await scene.parcel());
    await expect(blind.calls.recover()).rejects.toBe(unreachable);
    blind.calls.start();
    await blind.calls.close();
  } finally {
    stop();
  }
  const spans = telemetry.spans();
  const run = spans.find(({ name }) => name === 'pawl.durable-call.run');
  const send = spans.find(({ name }) => name === 'pawl.durable-call.send');
  expect(send?.parentSpanContext?.spanId).toBe(run?.spanContext().spanId);
  expect(run?.attributes).toMatchObject({ 'pawl.store': 'postgres', 'pawl.takeover': false });
  expect(run?.events.map(({ name }) => name)).toEqual([
    'pawl.claimed',
    'pawl.calls.failed',
    'pawl.calls.unknown',
  ]);
  const counted = await telemetry.points();
  for (const name of [
    'pawl.calls.failed',
    'pawl.calls.unknown',
    'pawl.calls.stuck',
    'pawl.recovery.failed',
  ]) {
    expect(
      counted.filter((point) => point.name === name).map(({ value }) => value),
      name,
    ).toEqual([1]);
  }
  const exported = await telemetry.exported();
  expect(exported).not.toContain('canary');
  expect(exported).not.toContain(parcel);
  expect(exported).toContain('pawl.durable-call.run');
});
