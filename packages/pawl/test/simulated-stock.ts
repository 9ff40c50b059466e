import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Columns,
  done,
  refused,
  type SqlPort,
  type SqlResult,
  type SqlStatement,
  StoreError,
} from '../src/index.ts';
import type { BatchStatements } from '../src/ports.ts';
import { postgres } from '../src/postgres/index.ts';
import type { StockDefinition, StockRequest } from '../src/stock.ts';

/** What becomes of one transaction. */
export type Fate = 'commits' | 'deadlock' | 'unavailable' | 'answer-lost' | 'request-lost';

const LIMIT_STATEMENT = 'limit';

export type SeatRequest = StockRequest & { readonly id: number };

/** A claimant whose row the database refuses. */
export const POISON = 'poison';

/** Seats of several halls, one for each claimant. */
export const seats: StockDefinition<SeatRequest, number, 'already-issued' | 'sold-out'> = {
  rows: { table: 'hall', key: 'hall', columns: ['left', 'seats'] },
  claims: { table: 'seat', stock: 'hall', claimant: 'guest', columns: ['number', 'request'] },
  take({ row, claimed, request }) {
    if (claimed) return refused('already-issued');
    const left = Number(row.left);
    if (left < 1) return refused('sold-out');
    const number = Number(row.seats) - left + 1;
    return done({ set: { left: left - 1 }, claim: { number, request: request.id }, value: number });
  },
  recall: (claim, request) =>
    Number(claim?.request) === request.id ? done(Number(claim?.number)) : refused('already-issued'),
};

/** How long somebody waits for a hall at once, in milliseconds. */
const LOCK_WAIT_MS = 100;

type Operation =
  | { readonly op: 'lock'; readonly halls: readonly string[]; readonly wait: boolean }
  | { readonly op: 'halls'; readonly halls: readonly string[]; readonly nowAs: string }
  | { readonly op: 'seats'; readonly keys: readonly Columns[] }
  | { readonly op: 'set'; readonly keys: readonly Columns[]; readonly set: readonly Columns[] }
  | { readonly op: 'insert'; readonly rows: readonly Columns[] }
  | { readonly op: typeof LIMIT_STATEMENT };

const operation = (one: Operation): SqlStatement => ({ text: JSON.stringify(one), values: [] });
const hallsOf = (keys: readonly Columns[]) => keys.map(({ hall }) => String(hall));

/** The statements of `stock`, as what they do. */
const statements: BatchStatements = {
  lockRows: ({ keys, wait }) => operation({ op: 'lock', halls: hallsOf(keys), wait }),
  readRows: ({ table, keys, nowAs }) =>
    table === 'hall'
      ? operation({ op: 'halls', halls: hallsOf(keys), nowAs: nowAs ?? '' })
      : operation({ op: 'seats', keys }),
  updateRows: ({ keys, set }) => [operation({ op: 'set', keys, set })],
  changeRows() {
    throw new TypeError('a stock reads first');
  },
  insertRows: ({ rows }) => operation({ op: 'insert', rows }),
};

/** Halls and seats in memory, with row locks, in which every step of a transaction is one of `step`. */
export class SimulatedSeats {
  readonly halls: Map<string, { left: number; readonly seats: number }>;
  readonly seats: Columns[] = [];
  /** What each transaction has held at most: how many requests shared it. */
  readonly inserted: number[] = [];
  readonly #locks = new Map<string, object>();
  #released: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #step: () => Promise<unknown>;
  readonly #fates: Iterator<Fate>;

  constructor(
    halls: Readonly<Record<string, number>>,
    { step, fates }: { step: () => Promise<unknown>; fates: Iterable<Fate> },
  ) {
    this.halls = new Map(Object.entries(halls).map(([hall, seats]) => [hall, { left: seats, seats }]));
    this.#step = step;
    this.#fates = fates[Symbol.iterator]();
  }

  /** Somebody else's lock on a hall. @returns gives it back. */
  lock(hall: string): () => void {
    const other = {};
    this.#locks.set(hall, other);
    return () => this.#release(other);
  }

  /** As one process has it. */
  port(): SqlPort {
    const only = (): never => {
      throw new TypeError('a group sends nothing else');
    };
    const limit = operation({ op: LIMIT_STATEMENT });
    return {
      dialect: { ...postgres, batch: statements, limitLockWait: () => limit, restoreLockWait: limit },
      execute: only,
      transaction: only,
      readThenWrite: async (reads, decide) => {
        const mine = {};
        const fate = this.#fates.next().value ?? 'commits';
        try {
          await this.#step();
          if (fate === 'unavailable') throw new StoreError('UNAVAILABLE', 'none', 'simulated');
          const read: SqlResult[] = [];
          for (const statement of reads) read.push(await this.#read(statement, mine));
          const decision = decide(read);
          if ('next' in decision) throw new TypeError('a stock decides at once');
          const { writes, result } = decision;
          await this.#step();
          if (fate === 'deadlock') throw new StoreError('DEADLOCK', 'none', 'simulated');
          if (writes.every(({ text }) => text === limit.text)) return result(writes.map(() => nothing));
          if (fate === 'request-lost') throw new StoreError('CONNECTION_LOST', 'unknown', 'simulated');
          const written = this.#write(writes);
          if (fate === 'answer-lost') throw new StoreError('CONNECTION_LOST', 'unknown', 'simulated');
          await this.#step();
          return result(written);
        } finally {
          this.#release(mine);
        }
      },
    };
  }

  #release(owner: object): void {
    for (const [hall, its] of this.#locks) if (its === owner) this.#locks.delete(hall);
    this.#released.resolve();
    this.#released = Promise.withResolvers();
  }

  async #read({ text }: SqlStatement, mine: object): Promise<SqlResult> {
    const asked = JSON.parse(text) as Operation;
    switch (asked.op) {
      case 'lock': {
        const isOthers = (hall: string) => (this.#locks.get(hall) ?? mine) !== mine;
        const mustWait = () => asked.wait && asked.halls.some(isOthers);
        const givenUp = mustWait() ? sleep(LOCK_WAIT_MS, 'given up') : undefined;
        while (mustWait()) {
          if ((await Promise.race([this.#released.promise, givenUp])) === 'given up') {
            throw new StoreError('LOCK_TIMEOUT', 'none', 'simulated');
          }
        }
        const free = asked.halls.filter((hall) => this.halls.has(hall) && !isOthers(hall));
        for (const hall of free) this.#locks.set(hall, mine);
        return rowsOf(free.map((hall) => ({ hall, ...this.halls.get(hall) })));
      }
      case 'halls':
        return rowsOf(
          asked.halls.filter((hall) => this.halls.has(hall)).map((hall) => ({ hall, [asked.nowAs]: 0 })),
        );
      case 'seats':
        return rowsOf(
          this.seats.filter((seat) =>
            asked.keys.some(({ hall, guest }) => hall === seat.hall && guest === seat.guest),
          ),
        );
      default:
        return nothing;
    }
  }

  /** All or nothing. */
  #write(writes: readonly SqlStatement[]): SqlResult[] {
    const asked = writes.map(({ text }) => JSON.parse(text) as Operation);
    for (const one of asked) {
      if (one.op === 'insert' && one.rows.some(({ guest }) => guest === POISON)) {
        throw new StoreError('REJECTED', 'none', 'simulated');
      }
    }
    for (const one of asked) {
      if (one.op === 'insert') {
        this.seats.push(...one.rows);
        this.inserted.push(one.rows.length);
      }
      if (one.op === 'set') {
        one.keys.forEach(({ hall }, index) => {
          Object.assign(this.halls.get(String(hall)) ?? {}, one.set[index]);
        });
      }
    }
    return writes.map(() => nothing);
  }
}

const nothing: SqlResult = { rows: [], affectedRows: 0 };

function rowsOf(rows: SqlResult['rows']): SqlResult {
  return { rows, affectedRows: rows.length };
}
