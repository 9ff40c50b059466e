import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { expect } from 'vitest';
import { barrier, together, until } from '../../../../test/barrier.ts';
import { observe } from '../../src/index.ts';
import { fresh, problem, replay } from './cases.ts';
import { allFrom, open, type Received, requestBytes, send } from './client.ts';
import type { Framework, StreamKind } from './framework.ts';
import { bill, type Handler, MOST_BYTES, type Slow, type Stage, textOf } from './stage.ts';

/** What happens at the same time, or in the middle of something: the same in every framework and on every store. */
export interface Situation {
  readonly name: string;
  run(stage: Stage): Promise<void>;
}

const inProgress = problem(409, 'in-progress');

/** A handler whose runs begin one after the other, and end when they are told to. */
export function held(handler: Handler = bill) {
  const begun: PromiseWithResolvers<void>[] = [];
  const ended: PromiseWithResolvers<void>[] = [];
  const at = (gates: PromiseWithResolvers<void>[], run: number) => {
    gates[run] ??= Promise.withResolvers<void>();
    return gates[run];
  };
  return {
    begun: (run = 1) => at(begun, run).promise,
    end: (run = 1) => at(ended, run).resolve(),
    handler: (async (run, call) => {
      at(begun, run).resolve();
      await at(ended, run).promise;
      return handler(run, call);
    }) satisfies Handler,
  };
}

const statuses = (all: readonly Received[]) => all.map(({ status }) => status).toSorted();

const duplicates: readonly Situation[] = [
  {
    name: 'without the guard, five at once run the handler five times',
    async run(stage) {
      const all = barrier(5);
      const own = stage.newCase(async (run, call) => {
        await all();
        return bill(run, call);
      });
      const received = await together(5, () => own.send({ path: '/unguarded' }));
      expect(statuses(received)).toEqual(Array(5).fill(201));
      expect(own.runs()).toBe(5);
    },
  },
  {
    name: 'five at once: one runs, and the others are told that it does',
    async run(stage) {
      const first = held();
      const own = stage.newCase(first.handler);
      const others: Received[] = [];
      const sent = together(5, async () => {
        const received = await own.send();
        others.push(received);
        // Only now, so that none of them finds an answer.
        if (others.length === 4) first.end();
        return received;
      });
      const received = await sent;
      expect(statuses(received)).toEqual([201, 409, 409, 409, 409]);
      for (const one of received) (one.status === 201 ? fresh() : inProgress)(one, []);
      expect(own.runs()).toBe(1);
    },
  },
  {
    name: 'five at once that may wait: all get the same bytes',
    async run(stage) {
      const first = held();
      const own = stage.newCase(first.handler);
      const one = own.send({ path: '/waiting' });
      await first.begun();
      const others = together(4, () => own.send({ path: '/waiting' }));
      first.end();
      const winner = await one;
      fresh()(winner, []);
      for (const other of await others) replay(other, [winner]);
      expect(own.runs()).toBe(1);
    },
  },
  {
    name: 'fifty identical requests to two instances run the handler once',
    async run(stage) {
      const own = stage.newCase();
      const received = await together(50, (index) => own.send({ path: '/waiting' }, index % 2 === 0 ? 0 : 1));
      expect(own.runs()).toBe(1);
      expect(new Set(received.map(textOf))).toEqual(new Set(['{"bill":1}']));
      expect(received.filter(({ headers }) => headers['idempotency-replayed'] === undefined)).toHaveLength(1);
    },
  },
];

const leavers: readonly Situation[] = [
  {
    name: 'a client that goes away while the handler runs: its answer is stored',
    async run(stage) {
      const gone = Promise.withResolvers<void>();
      const begun = Promise.withResolvers<void>();
      const own = stage.newCase(async (run, call) => {
        begun.resolve();
        await once(call.incoming.socket, 'close');
        gone.resolve();
        return bill(run, call);
      });
      const socket = await open(stage.ports[0]);
      socket.write(requestBytes(own.id, [`Idempotency-Key: ${own.key}`], '{"amount":1000}'));
      await begun.promise;
      socket.destroy();
      await gone.promise;
      const replayed = await stored(() => own.send());
      expect(textOf(replayed)).toBe('{"bill":1}');
      expect(replayed).toMatchObject({ status: 201, headers: { location: '/bills/1' } });
      expect(own.runs()).toBe(1);
    },
  },
  {
    name: 'a client that goes away, and a handler that answers with nothing',
    async run(stage) {
      const begun = Promise.withResolvers<void>();
      const own = stage.newCase(async (_, call) => {
        begun.resolve();
        await once(call.incoming.socket, 'close');
        return { status: 204 };
      });
      const socket = await open(stage.ports[0]);
      socket.write(requestBytes(own.id, [`Idempotency-Key: ${own.key}`], '{"amount":1000}'));
      await begun.promise;
      socket.destroy();
      expect((await stored(() => own.send())).status).toBe(204);
      expect(own.runs()).toBe(1);
    },
  },
  {
    name: 'a client that goes away while it sends: the handler does not run',
    async run(stage) {
      const own = stage.newCase();
      const socket = await open(stage.ports[0]);
      const key = `Idempotency-Key: ${own.key}`;
      socket.write(requestBytes(own.id, [key], '{"amount":', { length: 15 }));
      socket.end();
      await allFrom(socket);
      fresh()(await own.send(), []);
      expect(own.runs()).toBe(1);
    },
  },
];

/** Asks until nobody is at work any more. */
export async function stored(ask: () => Promise<Received>): Promise<Received> {
  let received = await ask();
  await until(async () => {
    if (received.status === 409) received = await ask();
    return received.status !== 409;
  });
  expect(received.headers).toMatchObject({ 'idempotency-replayed': 'true' });
  return received;
}

/** One that is given up before its key is its own. */
export async function givenUp(stage: Stage, path: string, slow: Slow): Promise<void> {
  const own = stage.newCase();
  const sent = own.send({ path });
  await slow.asked.promise;
  own.giveUp();
  expect((await sent).status).toBe(503);
  slow.answers.resolve();
  await slow.over.promise;
  expect(own.runs()).toBe(0);
  fresh()(await own.send({ path }), []);
}

const impatient: readonly Situation[] = [
  {
    name: 'a request that is answered by a time-out while the store is asked: the handler does not run, and the key is free',
    run: (stage) => givenUp(stage, '/slow', stage.slow),
  },
];

const watched: readonly Situation[] = [
  {
    name: 'the handler runs within what an observer has put around the guard',
    async run(stage) {
      const around = new AsyncLocalStorage<string>();
      const stop = observe({
        began: ({ guard }) => ({ around: (run) => around.run(guard, run), ended: () => undefined }),
      });
      try {
        const own = stage.newCase(async () => ({ status: 200, json: { around: around.getStore() } }));
        expect(textOf(await own.send())).toBe('{"around":"idempotency-key"}');
      } finally {
        stop();
      }
    },
  },
];

const FAILED = { status: 500 };

const failures: readonly Situation[] = [
  {
    name: 'a handler that throws: its key stays taken until its lease is over, and then it runs again',
    async run(stage) {
      const attempts: number[] = [];
      const own = stage.newCase(async (run, call) => {
        attempts.push(call.lease().attempt);
        if (run === 1) throw new Error('the provider does not answer');
        return bill(run, call);
      });
      expect(await own.send()).toMatchObject(FAILED);
      inProgress(await own.send(), []);
      await own.endLease();
      const second = await own.send();
      fresh(2)(second, []);
      replay(await own.send(), [second]);
      expect(attempts).toEqual([1, 2]);
    },
  },
  {
    name: 'a handler past its lease: its successor’s answer is the one that all get, the late one’s client too',
    async run(stage) {
      const first = held();
      const own = stage.newCase(async (run, call) =>
        run === 1 ? first.handler(run, call) : bill(run, call),
      );
      const late = own.send();
      await first.begun();
      await own.endLease();
      const successor = await own.send({}, 1);
      fresh(2)(successor, []);
      first.end();
      replay(await late, [successor]);
      for (const instance of [0, 1] as const) replay(await own.send({}, instance), [successor]);
      expect(own.runs()).toBe(2);
    },
  },
  {
    name: 'a handler past its lease, while its successor is at work',
    async run(stage) {
      const both = held();
      const own = stage.newCase(both.handler);
      const late = own.send();
      await both.begun(1);
      await own.endLease();
      const successor = own.send({}, 1);
      await both.begun(2);
      both.end(1);
      inProgress(await late, []);
      both.end(2);
      fresh(2)(await successor, []);
      replay(await own.send(), [await successor]);
    },
  },
];

const connections: readonly Situation[] = [
  ...['\x00', '\x01', '\x0b', '\x7f', '\r'].map((character) => ({
    name: `a key with the control character ${character.charCodeAt(0)}`,
    async run(stage: Stage) {
      const own = stage.newCase();
      const socket = await open(stage.ports[0]);
      socket.write(requestBytes(own.id, [`Idempotency-Key: a${character}b`], '{"amount":1000}'));
      expect(await allFrom(socket)).toMatch(/^HTTP\/1\.1 400 /);
      expect(own.runs()).toBe(0);
    },
  })),
  {
    name: 'a key of 1 MB',
    async run(stage) {
      const own = stage.newCase();
      const socket = await open(stage.ports[0]);
      socket.write(requestBytes(own.id, [`Idempotency-Key: ${'k'.repeat(1_000_000)}`], '{"amount":1000}'));
      // The server may end the connection before it has read everything, and then its answer may be lost.
      expect(await allFrom(socket)).toMatch(/^(HTTP\/1\.1 431 |$)/);
      expect(own.runs()).toBe(0);
    },
  },
  {
    name: 'a connection carries on after every kind of answer',
    async run(stage) {
      const through = new Agent({ keepAlive: true, maxSockets: 1 });
      const own = stage.newCase(async (run, call) => {
        if (call.incoming.url === '/small') return { status: 200, body: Buffer.alloc(MOST_BYTES + 1) };
        return bill(run, call);
      });
      const headers = { 'x-case': own.id };
      const body = '{"amount":1000}';
      const sendings = [
        { key: own.key, body },
        { key: own.key, body },
        { key: own.key, body: '{}' },
        { body },
        { key: own.key, path: '/small', body },
        { key: own.key, body },
      ];
      const received: Received[] = [];
      for (const sending of sendings)
        received.push(await send(stage.ports[0], { ...sending, headers }, through));
      expect(received.map(({ status }) => status)).toEqual([201, 201, 422, 400, 500, 201]);
      expect(received.map(({ onSameConnection }) => onSameConnection)).toEqual([
        false,
        ...Array(5).fill(true),
      ]);
      through.destroy();
    },
  },
];

/** One that has sent a little, and is silent from then on. */
export function begunStream(): Readable {
  const source = new PassThrough();
  source.write('{"bill":');
  return source;
}

/** Each way in which a framework streams. */
const streamed = ({ name, destroys }: StreamKind): Situation => ({
  name: `an answer that is a stream: ${name}`,
  async run(stage) {
    const source = begunStream();
    const own = stage.newCase(async () => ({ stream: name, source }));
    const first = await own.send();
    problem(500, 'streaming-answer')(first, []);
    replay(await own.send(), [first]);
    expect(own.runs()).toBe(1);
    if (destroys) await until(() => source.destroyed);
  },
});

export function situationsIn({ streams }: Framework): readonly Situation[] {
  const always = [duplicates, leavers, impatient, watched, failures, connections];
  return [...always.flat(), ...streams.map(streamed)];
}
