import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { EVERYBODY } from '../../src/http/guarded-route.ts';
import { type AnyIdempotencyKeys, leaseOf, transactionOf } from '../../src/http/guarded-work.ts';
import {
  type IdempotencyKeys,
  type IdempotencyStore,
  idempotencyKeys,
  type SqlIdempotencyLease,
  type SqlPort,
  type SqlTransaction,
  StoreError,
  type TransactionalIdempotencyKeys,
  transactionalIdempotencyKeys,
} from '../../src/index.ts';
import {
  type OpenIdempotencyStore,
  type OpenSqlIdempotencyStore,
  openIdempotencyStore,
  openSqlIdempotencyStore,
} from '../idempotency-stores.ts';
import { type Received, type Sending, send } from './client.ts';
import type { Call, Framework, Reply, Route, RunningService } from './framework.ts';

/** What a handler does; `run` is its number among the runs of its case, from 1. */
export type Handler = (run: number, call: HeldCall) => Promise<Reply>;

export interface HeldCall extends Call {
  /** What the handler of a route in leased mode holds; `completeIn` is there on SQL alone. */
  lease(): SqlIdempotencyLease;
  /** What the handler of a route in transactional mode holds. */
  transaction(): SqlTransaction;
}

export const stores = ['postgres', 'mariadb', 'redis'] as const;

export type StoreName = (typeof stores)[number];

/** No lease of a case ends by itself: time is moved (`endLease`). */
const LEASE = { leaseMs: 60_000, renewForMs: 0 };
/** Longer than any case takes. */
const WAIT_MS = 20_000;
export const MOST_BYTES = 1_024;
export const RULES = 'https://example.com/rules';

/** The services of one framework on one store: two instances, which know of each other by the store alone. */
export interface Stage {
  readonly framework: Framework;
  /** Undefined where there is no database, and so no transactional mode. */
  readonly sql: OpenSqlIdempotencyStore | undefined;
  readonly ports: readonly [number, number];
  /** How many transactions of this stage's wait for another now. */
  waiting(): Promise<number>;
  /** The runs of a case of which a row is there, in their order. */
  bills(caseId: string): Promise<number[]>;
  /** What the routes `/slow` and `/transactional/slow` wait for. Each is one case's, since the stage has it once. */
  readonly slow: Slow;
  readonly slowInTransactions: Slow;
  /** A case, with a handler and keys that nobody else uses. */
  newCase(handler?: Handler): Case;
  close(): Promise<void>;
}

export interface Case {
  readonly id: string;
  readonly key: string;
  runs(): number;
  /** Sends with the case's key, unless the request has another, to an instance. */
  send(sending?: Sending, instance?: 0 | 1): Promise<Received>;
  /** Those who wait for the answer to a request of the case have waited long enough, on a route that times out. */
  giveUp(): void;
  /** As if the lease of the case's key had ended. */
  endLease(member?: string, route?: string): Promise<void>;
}

/** What handlers write to: the case, and which of its runs it was. */
export const BILLS = 'http_bill';

/** What a handler answers by itself: a different bill each time that it runs, with headers that are stored and others. */
export const bill: Handler = async (run) => ({
  status: 201,
  headers: { location: `/bills/${run}`, 'set-cookie': ['session=1', 'theme=dark'], 'x-trace': 'abc' },
  json: { bill: run },
});

/** A store that answers when it is told to. */
export interface Slow {
  /** It has been asked for a key. */
  readonly asked: PromiseWithResolvers<void>;
  /** It answers, then and later. */
  readonly answers: PromiseWithResolvers<void>;
  /** A key has been given back, or a transaction has ended. */
  readonly over: PromiseWithResolvers<void>;
}

interface OwnCase {
  runs: number;
  gaveUp: PromiseWithResolvers<void>;
  readonly handler: Handler;
}

export async function openStage(framework: Framework, name: StoreName): Promise<Stage> {
  const sql = name === 'redis' ? undefined : await openSqlIdempotencyStore(name);
  await sql?.database.query(`CREATE TABLE ${BILLS} (case_id varchar(36), run integer)`);
  const opened: OpenIdempotencyStore = sql ?? (await openIdempotencyStore(name));
  const cases = new Map<string, OwnCase>();
  const services: RunningService[] = [];
  const [slow, slowInTransactions] = [newSlow(), newSlow()];
  for (let instance = 0; instance < 2; instance++) {
    const routes = [
      ...leasedRoutes(opened.store, slow),
      ...(sql === undefined ? [] : transactionalRoutes(sql.sql, slowInTransactions)),
    ];
    services.push(await startInstance(framework, routes, cases));
  }
  const [first, second] = services;
  if (first === undefined || second === undefined) throw new Error('there are two');
  const ports = [first.port, second.port] as const;
  // The cases share a session, on which there is one statement at a time.
  let last: Promise<unknown> = Promise.resolve();
  function inTurn<T>(ask: () => Promise<T>): Promise<T> {
    const asked = last.then(ask);
    last = asked.catch(() => undefined);
    return asked;
  }

  return {
    framework,
    sql,
    ports,
    slow,
    slowInTransactions,
    waiting: () => inTurn(() => there(sql).database.waitingForLocks()),
    async bills(caseId) {
      const text = `SELECT run FROM ${BILLS} WHERE case_id = ? ORDER BY run`;
      const { rows } = await inTurn(() => there(sql).database.query(text, caseId));
      return rows.map(({ run }) => Number(run));
    },
    newCase(handler = bill) {
      const id = randomUUID();
      const key = `key-${id}`;
      const own: OwnCase = { runs: 0, gaveUp: Promise.withResolvers(), handler };
      cases.set(id, own);
      return {
        id,
        key,
        runs: () => own.runs,
        send: ({ headers, ...sending } = {}, instance = 0) =>
          send(ports[instance], {
            key,
            body: '{"amount":1000}',
            ...sending,
            headers: { 'x-case': id, ...headers },
          }),
        giveUp() {
          own.gaveUp.resolve();
          own.gaveUp = Promise.withResolvers();
        },
        endLease: (member = 'kim', route = 'POST /pay') =>
          inTurn(() => opened.endLease({ scope: JSON.stringify(['member', member, route]), key })),
      };
    },
    async close() {
      await Promise.all(services.map((service) => service.close()));
      await opened.close();
    },
  };
}

function startInstance(
  framework: Framework,
  routes: readonly Route[],
  cases: ReadonlyMap<string, OwnCase>,
): Promise<RunningService> {
  const keysOf = new Map<string, AnyIdempotencyKeys | undefined>(
    routes.map(({ path, guard }) => [path, guard?.keys]),
  );
  return framework.start({
    routes,
    gaveUp: (caseId) => there(cases.get(caseId)).gaveUp.promise,
    async handle(call) {
      const own = there(cases.get(call.caseId));
      own.runs++;
      const keys = keysOf.get(new URL(call.incoming.url ?? '', 'http://localhost').pathname);
      return own.handler(own.runs, {
        ...call,
        lease: () => there(leaseOf(keys as IdempotencyKeys<SqlIdempotencyLease>, call.request)),
        transaction: () => there(transactionOf(keys as TransactionalIdempotencyKeys, call.request)),
      });
    },
  });
}

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('it is not there');
  return value;
}

function leasedRoutes(store: IdempotencyStore, slow: Slow): readonly Route[] {
  const keys = idempotencyKeys(store, LEASE);
  const waiting = idempotencyKeys(store, { ...LEASE, waitMs: WAIT_MS });
  const unreachable = idempotencyKeys({ ...store, claim: refuse('none') });
  const silent = idempotencyKeys({ ...store, claim: refuse('unknown') });
  const slowKeys = idempotencyKeys(slowStore(store, slow), LEASE);
  const guard = { keys, rulesUrl: RULES };
  return [
    { method: 'POST', path: '/pay', guard },
    { method: 'POST', path: '/refund', guard },
    { method: 'POST', path: '/orders/:id/pay', guard },
    { method: 'GET', path: '/report', guard },
    { method: 'POST', path: '/waiting', guard: { ...guard, keys: waiting } },
    { method: 'POST', path: '/optional', guard: { ...guard, required: false } },
    { method: 'POST', path: '/everybody', guard: { ...guard, member: EVERYBODY } },
    { method: 'POST', path: '/small', guard: { ...guard, maxAnswerBytes: MOST_BYTES } },
    { method: 'POST', path: '/unreachable', guard: { ...guard, keys: unreachable } },
    { method: 'POST', path: '/silent', guard: { ...guard, keys: silent } },
    { method: 'POST', path: '/slow', guard: { ...guard, keys: slowKeys }, timesOut: true },
    { method: 'POST', path: '/unguarded' },
  ];
}

function transactionalRoutes(sql: SqlPort, slow: Slow): readonly Route[] {
  const patient = { waitMs: WAIT_MS };
  const guard = { keys: transactionalIdempotencyKeys(sql, patient), rulesUrl: RULES };
  const impatient = transactionalIdempotencyKeys(sql, { waitMs: 1 });
  const deadlocked = transactionalIdempotencyKeys(refusingCommits(sql), patient);
  const lost = transactionalIdempotencyKeys(losingEverySecondAnswer(sql), patient);
  const slowly = transactionalIdempotencyKeys(slowSql(sql, slow), patient);
  return [
    { method: 'POST', path: '/transactional', guard },
    { method: 'POST', path: '/transactional/small', guard: { ...guard, maxAnswerBytes: MOST_BYTES } },
    { method: 'POST', path: '/transactional/impatient', guard: { ...guard, keys: impatient } },
    { method: 'POST', path: '/transactional/deadlocked', guard: { ...guard, keys: deadlocked } },
    { method: 'POST', path: '/transactional/lost', guard: { ...guard, keys: lost } },
    { method: 'POST', path: '/transactional/slow', guard: { ...guard, keys: slowly }, timesOut: true },
  ];
}

function newSlow(): Slow {
  return {
    asked: Promise.withResolvers(),
    answers: Promise.withResolvers(),
    over: Promise.withResolvers(),
  };
}

/** The key has been taken, and its answer comes later. */
function slowStore(store: IdempotencyStore, { asked, answers, over }: Slow): IdempotencyStore {
  return {
    ...store,
    async claim(claim) {
      const claimed = await store.claim(claim);
      asked.resolve();
      await answers.promise;
      return claimed;
    },
    async release(id, owner) {
      const released = await store.release(id, owner);
      over.resolve();
      return released;
    },
  };
}

/** A transaction has begun, and its statements come later. */
function slowSql(sql: SqlPort, { asked, answers, over }: Slow): SqlPort {
  return {
    ...sql,
    async transaction(work) {
      try {
        return await sql.transaction(async (transaction) => {
          asked.resolve();
          await answers.promise;
          return work(transaction);
        });
      } finally {
        over.resolve();
      }
    },
  };
}

/** As where every COMMIT is the victim of a deadlock. */
function refusingCommits(sql: SqlPort): SqlPort {
  return {
    ...sql,
    transaction: (work) =>
      sql.transaction(async (transaction) => {
        await work(transaction);
        throw new StoreError('DEADLOCK', 'none', 'a deadlock at the COMMIT');
      }),
  };
}

/** As where the answer to the first, the third, … COMMIT gets lost. */
function losingEverySecondAnswer(sql: SqlPort): SqlPort {
  let isLost = false;
  return {
    ...sql,
    async transaction(work) {
      const done = await sql.transaction(work);
      isLost = !isLost;
      if (isLost) throw new StoreError('CONNECTION_LOST', 'unknown', 'the answer to the COMMIT is lost');
      return done;
    },
  };
}

function refuse(effect: 'none' | 'unknown'): IdempotencyStore['claim'] {
  return async () => {
    throw new StoreError(effect === 'none' ? 'UNAVAILABLE' : 'CONNECTION_LOST', effect, 'not there');
  };
}

/** Bytes as text, where they are different it is seen in which. */
export const textOf = ({ body }: Received) => body.toString('latin1');

/** What nobody has stored, seen by its headers. */
export function expectNoHandlersHeaders({ headers }: Received): void {
  expect(headers).not.toHaveProperty('set-cookie');
  expect(headers).not.toHaveProperty('x-trace');
}
