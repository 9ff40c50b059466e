import { wellFormed } from './columns.ts';
import {
  type BatchDecision,
  type GroupCommit,
  type GroupCommitOptions,
  type GroupRefusal,
  type GroupWork,
  groupCommit,
  HELD,
} from './group-commit.ts';
import { observed } from './observe.ts';
import {
  type Done,
  done,
  type Outcome,
  type RefusalReason,
  type Refused,
  refused,
  type Unknown,
  unknown,
} from './outcome.ts';
import type {
  BatchStatements,
  Columns,
  ColumnTypes,
  Row,
  SqlPort,
  SqlResult,
  SqlStatement,
  SqlValue,
} from './ports.ts';

/** Names a row. Compared with what the database gives back as text: give it as it is stored. */
export type StockKey = string | number;

/** Somebody who asks for one of a limited number. */
export interface StockRequest {
  /** Of what. */
  readonly stock: StockKey;
  /** Who: at most one for each. */
  readonly claimant: StockKey;
}

/** What decides about one request, as it is under the lock of the stock, those before it in the same transaction included. */
export interface StockSeen<Request extends StockRequest> {
  readonly request: Request;
  /** The row of the stock. */
  readonly row: Row;
  /** The claimant has one. */
  readonly claimed: boolean;
  /** The claimant's row in `claimants`; undefined where there is none. */
  readonly claimant: Row | undefined;
  /** The database's clock, read under the lock. */
  readonly now: Date;
}

/** One that is handed out. */
export interface StockTake<Value> {
  /** What changes in the row of the stock. */
  readonly set: Columns;
  /** What is stored with the claim, beside the stock and the claimant; each time the same columns. */
  readonly claim: Columns;
  readonly value: Value;
}

export interface StockDefinition<Request extends StockRequest, Value, Reason extends RefusalReason> {
  /** The rows that say how many are left, and what else decides: `columns` are read, with the key. */
  readonly rows: { readonly table: string; readonly key: string; readonly columns: readonly string[] };
  /**
   * The table of what was handed out, with a unique constraint on both columns together: the stock and the claimant. `columns` are
   * read for `recall`, besides. `types`, where they are told of all columns that are stored, make it faster on PostgreSQL.
   */
  readonly claims: {
    readonly table: string;
    readonly stock: string;
    readonly claimant: string;
    readonly columns: readonly string[];
    readonly types?: ColumnTypes;
  };
  /** What else decides about a claimant, by his key. */
  readonly claimants?: { readonly table: string; readonly key: string; readonly columns: readonly string[] };
  /**
   * Decides about one request, by nothing but what it is given: of what it sets, the next request sees the change. It may run several
   * times for one request.
   */
  take(seen: StockSeen<Request>): Done<StockTake<Value>> | Refused<Reason>;
  /**
   * What the claimant's claim, or that there is none, says of a request whose answer was lost. It is read when nothing of the request
   * is under way any more. `row`: the row of the stock, as it is then.
   */
  recall(claim: Row | undefined, request: Request, row: Row): Done<Value> | Refused<Reason>;
}

/** `wrong-state`: there is no such stock. */
export type StockOutcome<Value, Reason extends RefusalReason> =
  | Done<Value>
  | Refused<Reason | GroupRefusal | 'wrong-state'>
  | Unknown<Value>;

export interface Stock<Request extends StockRequest, Value, Reason extends RefusalReason> {
  /** @throws StoreError  `effect: 'none'`: nothing took effect. `REJECTED`: also a key with half of a character. */
  take(request: Request): Promise<StockOutcome<Value, Reason>>;
}

const TAKE = { guard: 'stock' } as const;

/**
 * Hands out a limited number, at most one to each claimant.
 *
 * Every request is decided under the lock of the stock's row, from what is read after the lock was had, and what was decided is
 * written before it is given back: so nothing is handed out twice, a duplicate takes nothing, and the last one is the last. Requests
 * share transactions (`groupCommit`), also those for one row, and each has the outcome that it would have had alone.
 *
 * It protects against all who write to these rows under the lock of the stock. The unique constraint is for those who do not.
 *
 * Cost: two round trips and one commit for each batch; two or three statements to read, one for the claims, and one for each stock.
 *
 * @param sql  Best with `readThenWrite`, and for nothing else: see `groupCommit`.
 * @throws MisuseError  An option.
 */
export function stock<Request extends StockRequest, Value, Reason extends RefusalReason>(
  sql: SqlPort,
  definition: StockDefinition<Request, Value, Reason>,
  options: GroupCommitOptions,
): Stock<Request, Value, Reason> {
  const work: StockWork<Request, Value, Reason> = new StockWork(sql.dialect.batch, definition, (request) =>
    recalled(group, request),
  );
  const group = groupCommit(sql, work, options);
  const take = async (request: Request, _: undefined) => {
    // What clients choose: many of a batch that are refused one by one have its others refused as they were.
    for (const key of [request.stock, request.claimant]) if (typeof key === 'string') wellFormed(key);
    // Only who is lost is recalled.
    return (await group.submit({ request, isLost: false })) as StockOutcome<Value, Reason>;
  };
  return { take: (request) => observed(TAKE, sql.dialect.name, take, request, undefined) };
}

interface StockItem<Request> {
  readonly request: Request;
  /** It was decided once, and the answer was lost: what became of it is read, and nothing is taken. */
  readonly isLost: boolean;
}

/** What was read of a request whose answer was lost. */
interface Recalled<Value, Reason extends RefusalReason> {
  readonly outcome: 'done';
  readonly recalled: Done<Value> | Refused<Reason>;
}

/** What an item comes to: a request that was lost is recalled, and what else it is told says that it could not be. */
type ItemOutcome<Value, Reason extends RefusalReason> = StockOutcome<Value, Reason> | Recalled<Value, Reason>;

/**
 * Under the lock of the stock: whoever has it knows that the transaction whose answer was lost is over, and has not yet to be
 * committed by a server that goes on without its client.
 */
async function recalled<Request extends StockRequest, Value, Reason extends RefusalReason>(
  group: GroupCommit<StockItem<Request>, ItemOutcome<Value, Reason>>,
  request: Request,
): Promise<Outcome<Value>> {
  // What keeps it from being read says nothing of what it was.
  const found = await group.submit({ request, isLost: true }).catch(() => undefined);
  if (found !== undefined && 'recalled' in found) return found.recalled;
  return unknown(() => recalled(group, request));
}

const NOW = 'pawl_now_ms';

/** A stock as the requests of a batch leave it, one after the other. */
interface StockState {
  row: Row;
  /** What they have set. */
  set: Columns | undefined;
  readonly now: Date;
  readonly claims: Map<string, Row>;
}

class StockWork<Request extends StockRequest, Value, Reason extends RefusalReason>
  implements GroupWork<StockItem<Request>, ItemOutcome<Value, Reason>>
{
  readonly #statements: BatchStatements;
  readonly #definition: StockDefinition<Request, Value, Reason>;
  readonly #resolve: (request: Request) => Promise<Outcome<Value>>;

  constructor(
    statements: BatchStatements,
    definition: StockDefinition<Request, Value, Reason>,
    resolve: (request: Request) => Promise<Outcome<Value>>,
  ) {
    this.#statements = statements;
    this.#definition = definition;
    this.#resolve = resolve;
  }

  keyOf({ request }: StockItem<Request>): string {
    return textOf(request.stock);
  }

  unknown({ request }: StockItem<Request>): Unknown<Value> {
    return unknown(() => this.#resolve(request));
  }

  read(items: readonly StockItem<Request>[], wait: boolean): readonly SqlStatement[] {
    const { rows, claims, claimants } = this.#definition;
    const stocks = distinct(items, ({ request }) => request.stock);
    const keys = stocks.map((stock) => ({ [rows.key]: stock }));
    const pairs = items.map(({ request }) => ({
      [claims.stock]: request.stock,
      [claims.claimant]: request.claimant,
    }));
    const columns = [rows.key, ...rows.columns];
    // What a claim says beside that it is there is for those whose answer was lost.
    const recalled = items.some(({ isLost }) => isLost) ? claims.columns : [];
    const statements = [
      this.#statements.lockRows({ table: rows.table, keys, columns, wait, nowAs: NOW }),
      this.#statements.readRows({
        table: claims.table,
        keys: pairs,
        columns: [claims.stock, claims.claimant, ...recalled],
      }),
    ];
    if (claimants !== undefined) {
      const { table, key, columns } = claimants;
      const keys = distinct(items, ({ request }) => request.claimant).map((claimant) => ({
        [key]: claimant,
      }));
      statements.push(this.#statements.readRows({ table, keys, columns: [key, ...columns] }));
    }
    // What was not locked may not be there at all, which is looked for only when it was waited for; and the clock is read after that.
    if (wait)
      statements.push(
        this.#statements.readRows({ table: rows.table, keys, columns: [rows.key], nowAs: NOW }),
      );
    return statements;
  }

  decide(
    items: readonly StockItem<Request>[],
    read: readonly SqlResult[],
  ): BatchDecision<ItemOutcome<Value, Reason>> {
    const { rows, claims, claimants } = this.#definition;
    const [locked, claimed, ...others] = read as [SqlResult, SqlResult, ...SqlResult[]];
    const asking = claimants && others.shift();
    const present = others.shift();
    const clocks = new Map((present ?? locked).rows.map((row) => [textOf(row[rows.key]), Number(row[NOW])]));
    const stocks = new Map<string, StockState>();
    for (const row of locked.rows) {
      const key = textOf(row[rows.key]);
      const now = clocks.get(key);
      if (now !== undefined) stocks.set(key, { row, set: undefined, now: new Date(now), claims: new Map() });
    }
    for (const row of claimed.rows) {
      stocks.get(textOf(row[claims.stock]))?.claims.set(textOf(row[claims.claimant]), row);
    }
    const claimantRows = new Map<string, Row>();
    if (claimants !== undefined) {
      for (const row of asking?.rows ?? []) claimantRows.set(textOf(row[claimants.key]), row);
    }
    const inserts: Columns[] = [];

    const outcomes = items.map(({ request, isLost }): ItemOutcome<Value, Reason> | typeof HELD => {
      const key = textOf(request.stock);
      const stock = stocks.get(key);
      if (stock === undefined)
        return present === undefined || clocks.has(key) ? HELD : refused('wrong-state');
      const claimant = textOf(request.claimant);
      const claim = stock.claims.get(claimant);
      if (isLost) return { outcome: 'done', recalled: this.#definition.recall(claim, request, stock.row) };
      const { row, now } = stock;
      const taken = this.#definition.take({
        request,
        row,
        claimed: claim !== undefined,
        claimant: claimantRows.get(claimant),
        now,
      });
      if (taken.outcome !== 'done') return taken;
      const { set, claim: columns, value } = taken.value;
      const insert = { [claims.stock]: request.stock, [claims.claimant]: request.claimant, ...columns };
      inserts.push(insert);
      stock.row = { ...row, ...set };
      stock.set = { ...stock.set, ...set };
      stock.claims.set(claimant, insert);
      return done(value);
    });

    return { writes: this.#writes(stocks, inserts), outcomes: () => outcomes };
  }

  #writes(stocks: ReadonlyMap<string, StockState>, inserts: readonly Columns[]): readonly SqlStatement[] {
    const { rows, claims } = this.#definition;
    if (inserts.length === 0) return [];
    const writes = [this.#statements.insertRows({ table: claims.table, rows: inserts, types: claims.types })];
    for (const { row, set } of stocks.values()) {
      if (set === undefined) continue;
      const keys = [{ [rows.key]: row[rows.key] as SqlValue }];
      writes.push(...this.#statements.updateRows({ table: rows.table, keys, set: [set] }));
    }
    return writes;
  }
}

function distinct<Item>(items: readonly Item[], of: (item: Item) => StockKey): readonly StockKey[] {
  return [...new Set(items.map(of))];
}

/** As text, whether the driver reads the column as a number, as text, or as bytes. */
function textOf(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString() : String(value);
}
