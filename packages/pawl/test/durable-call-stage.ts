import {
  type Answer,
  type ClaimedAttempt,
  type Compensation,
  conditionalUpdate,
  type Done,
  type DurableCall,
  type DurableCallDefinition,
  type DurableCallEvent,
  type DurableCallGroupOptions,
  type DurableCallOptions,
  type DurableCallRules,
  type DurableCallStore,
  type DurableCalls,
  done,
  durableCallRules,
  durableCalls,
  HELD,
  type Heard,
  type Holding,
  type IdempotentRequest,
  type Move,
  migrate,
  pawlTables,
  type Refused,
  type Repeat,
  type Row,
  refused,
  type SqlPort,
  type SqlResult,
  type SqlTransaction,
  sqlDurableCallStore,
  transact,
} from '../src/index.ts';
import { type Booking, type ParcelRequest, Receiver } from './durable-call-receiver.ts';
import { openStore, type PortOptions, type Store } from './stores.ts';

/*
 * What the tests of durable calls play on: parcels in a database, for each of which a courier is booked; a courier service in the
 * hand of the test; and instances, each with connections of its own.
 */

export const CALLS = pawlTables().durableCall;
export const HOUR_MS = 3_600_000;

/** A wish to book a courier, as it shares its transaction with others. `spoiled`: the database will not take it. */
export interface ParcelClaim {
  readonly parcel: string;
  readonly finalAfterMs?: number;
  readonly spoiled?: boolean;
}

type Wrong = Refused<'wrong-state'>;
export type Definition = DurableCallDefinition<SqlTransaction, ParcelRequest, Booking, ParcelClaim, Wrong>;
type Calls = DurableCalls<SqlTransaction, ParcelRequest, Booking, ParcelClaim, Wrong>;
export type CallStore = DurableCallStore<SqlTransaction>;

/** A parcel's row. `receipts`: how often its booking was written down. */
export interface Parcel {
  readonly state: string;
  readonly attempt: number;
  readonly receipts: number;
}

export interface InstanceOptions extends DurableCallOptions {
  /** What its definition has instead. */
  readonly definition?: (given: Definition) => Partial<Definition>;
  /** Its store, around the one on its pool. */
  readonly store?: (store: CallStore, sql: SqlPort) => CallStore;
  /** A pool of its own. Absent: one of three. */
  readonly pool?: PortOptions;
  /** How its callers share transactions, over connections of their own. */
  readonly groups?: Omit<DurableCallGroupOptions, 'sql'> & { readonly pool?: PortOptions };
}

export interface Instance {
  readonly calls: Calls;
  readonly events: DurableCallEvent[];
  /** Books a courier for a parcel, under a key that is the parcel's unless another is given. */
  book(
    parcel: string,
    given?: Partial<IdempotentRequest> & { readonly finalAfterMs?: number },
  ): ReturnType<Calls['run']>;
  /** The same together with those who come at the same time; needs `groups`. */
  bookTogether(
    parcel: string,
    given?: Partial<IdempotentRequest> & Omit<ParcelClaim, 'parcel'>,
  ): ReturnType<Calls['runGrouped']>;
}

/** One test's own name, parcels and courier service. */
export interface Scene {
  readonly receiver: Receiver;
  instance(options?: InstanceOptions): Instance;
  /** A parcel that nobody has booked a courier for. */
  parcel(): Promise<string>;
  /** Its record, of the key that `book` gives it by itself. */
  call(parcel: string, key?: string): Promise<DurableCall | undefined>;
}

export interface Stage {
  readonly database: Store;
  /**
   * @param repeat  Of its calls; where it is `never`, its receiver does not honour tokens.
   * @param isOptimistic  Whether its groups try first without reading, and look first without locks while most are refused.
   */
  scene(options?: {
    readonly repeat?: Repeat;
    readonly compensates?: boolean;
    readonly isOptimistic?: boolean;
  }): Scene;
  rows(parcel: string): Promise<Parcel>;
  /** The lease of what is unsettled of a parcel is over, as if nobody had been heard of for long. */
  endLease(parcel: string): Promise<void>;
  /** From now on no effect of its calls can come about any more. */
  makeFinal(parcel: string): Promise<void>;
  close(): Promise<void>;
}

/** Who dies, as those see it who wait for him. */
export const FOREVER = new Promise<never>(() => undefined);

/** The scope that requests have unless another is given. */
const SCOPE = ['member 1', 'POST /couriers'];
export const SCOPE_TEXT = JSON.stringify(SCOPE);

/** The rules, but where `instead` says otherwise. */
export function rulesBut(
  instead: (holding: Holding, heard: Heard<unknown>) => Move<never> | undefined,
): Pick<DurableCallRules, 'next'> {
  return { next: (holding, heard) => instead(holding, heard) ?? durableCallRules.next(holding, heard) };
}

/** What was answered, its body as text. */
export function told(outcome: { readonly outcome: string; readonly value?: unknown }): unknown {
  if (outcome.outcome !== 'done') return outcome;
  const { value, ...rest } = outcome as Done<Answer>;
  return { ...rest, value: { status: value.status, body: Buffer.from(value.body).toString() } };
}

/** `told` of what was booked, by a receiver that books nothing else. */
export const booked = (replayed = false, booking = 1) => ({
  outcome: 'done',
  replayed,
  value: { status: 201, body: `booked ${booking}` },
});

export const answered = (status: number, body: string, replayed = false) => ({
  outcome: 'done',
  replayed,
  value: { status, body },
});

export const unknown = (code: string | undefined) => ({ outcome: 'unknown', code });

const answer = (status: number, body: string): Answer => ({
  status,
  headers: { 'Content-Type': 'text/plain', 'Set-Cookie': 'secret' },
  body: Buffer.from(body),
});

let names = 0;

export async function openStage(name: 'postgres' | 'mariadb'): Promise<Stage> {
  const database = await openStore(name);
  const pools = Array.from({ length: 3 }, () => database.open({ connections: 5 }));
  const [first] = pools as [SqlPort];
  await migrate(first);
  await database.query(
    'CREATE TABLE parcel (id varchar(50) PRIMARY KEY, state varchar(20), attempt integer)',
  );
  await database.query('CREATE TABLE receipt (parcel varchar(50), booking integer)');

  const move = async (
    transaction: SqlTransaction,
    parcel: string,
    from: { state: string; attempt?: number },
    to: { state: string; attempt?: number },
  ) => conditionalUpdate(transaction, { table: 'parcel', key: { id: parcel }, expect: from, set: to });

  /** For who holds the fence it cannot fail; who has lost it may find the parcel elsewhere. */
  const mustMove = async (...asked: Parameters<typeof move>) => {
    const moved = await move(...asked);
    if (moved.outcome !== 'done') throw new Error(`parcel ${asked[1]} is not ${asked[2].state}`);
  };

  async function claim(
    transaction: SqlTransaction,
    parcel: string,
  ): Promise<Done<ClaimedAttempt<ParcelRequest>> | Refused<'wrong-state'>> {
    const moved = await move(transaction, parcel, { state: 'WAITING' }, { state: 'BOOKING' });
    if (moved.outcome !== 'done') return refused('wrong-state');
    const { rows } = await transaction.execute(
      database.statement('SELECT attempt FROM parcel WHERE id = ?', parcel),
    );
    return done({ subject: parcel, attempt: Number(rows[0]?.attempt), request: { parcel } });
  }

  const compensation: Omit<Compensation<SqlTransaction, ParcelRequest, Booking>, 'send' | 'lookUp'> = {
    name: 'cancel',
    began: async (transaction, { subject }) => {
      const moved = await move(transaction, subject, { state: 'WITHDRAWN' }, { state: 'CANCELING' });
      return moved.outcome === 'done' ? done(undefined) : refused('wrong-state');
    },
    async ended(transaction, { subject }) {
      await mustMove(transaction, subject, { state: 'CANCELING' }, { state: 'CANCELED' });
      return answer(410, 'canceled');
    },
  };

  const give = (transaction: SqlTransaction, subject: string, attempt: number) =>
    mustMove(transaction, subject, { state: 'BOOKING', attempt }, { state: 'WAITING', attempt: attempt + 1 });

  const { batch } = first.dialect;

  /** Of the parcels, those that could be locked, as they stand; and all that are there. */
  const readParcels = (parcels: readonly string[], wait: boolean) => {
    const keys = [...new Set(parcels)].map((id) => ({ id }));
    return [
      batch.lockRows({ table: 'parcel', keys, columns: ['id', 'state', 'attempt'], wait }),
      batch.readRows({ table: 'parcel', keys, columns: ['id'] }),
    ];
  };

  /** Moves parcels one after the other, as `move` does. */
  function movesOf([locked, present]: readonly SqlResult[], from: string, to: string) {
    const states = new Map(locked?.rows.map((row) => [String(row.id), { ...row }]));
    const there = new Set(present?.rows.map((row) => String(row.id)));
    const moved: string[] = [];
    return {
      moved,
      move(parcel: string, attempt?: number): Row | typeof HELD | undefined {
        const row = states.get(parcel);
        if (row === undefined) return there.has(parcel) ? HELD : undefined;
        if (row.state !== from || (attempt !== undefined && row.attempt !== attempt)) return undefined;
        states.set(parcel, { ...row, state: to });
        moved.push(parcel);
        return row;
      },
      writes: () =>
        batch.updateRows({
          table: 'parcel',
          keys: moved.map((id) => ({ id })),
          set: moved.map(() => ({ state: to })),
        }),
    };
  }

  const spoil = database.statement('UPDATE no_such_table SET state = 1');

  const grouped: NonNullable<Definition['grouped']> = {
    claims: {
      subjectOf: ({ parcel }) => parcel,
      read: (claims, wait) =>
        readParcels(
          claims.map(({ parcel }) => parcel),
          wait,
        ),
      decide(_claims, read) {
        const { move, writes } = movesOf(read, 'WAITING', 'BOOKING');
        let isSpoiled = false;
        return {
          claim({ parcel, spoiled = false, ...more }) {
            const row = move(parcel);
            if (row === HELD) return HELD;
            if (row === undefined) return refused('wrong-state');
            isSpoiled ||= spoiled;
            return done({ subject: parcel, attempt: Number(row.attempt), request: { parcel }, ...more });
          },
          writes: () => (isSpoiled ? [spoil] : writes()),
        };
      },
    },
    settlements: {
      read: (settlements, wait) =>
        readParcels(
          settlements.map(({ call }) => call.subject),
          wait,
        ),
      decide(_settlements, read) {
        const { move, writes } = movesOf(read, 'BOOKING', 'BOOKED');
        const receipts: { parcel: string; booking: number }[] = [];
        return {
          settle({ call: { subject, attempt }, value: { booking } }) {
            const row = move(subject, attempt);
            if (row === HELD) return HELD;
            if (row === undefined) return refused('not-open');
            receipts.push({ parcel: subject, booking });
            return done(answer(201, `booked ${booking}`));
          },
          writes: () => [...writes(), batch.insertRows({ table: 'receipt', rows: receipts })],
        };
      },
    },
  };

  /** Of parcels that are all in their first attempt. */
  const optimistic: NonNullable<Definition['grouped']> = {
    claims: {
      ...grouped.claims,
      optimistic: (claims) => ({
        claimed: claims.map(({ parcel, spoiled: _, ...more }) => ({
          subject: parcel,
          attempt: 1,
          request: { parcel },
          ...more,
        })),
        writes: [
          ...batch.changeRows({
            table: 'parcel',
            keys: claims.map(({ parcel }) => ({ id: parcel })),
            expect: { state: 'WAITING', attempt: 1 },
            set: claims.map(() => ({ state: 'BOOKING' })),
            types: { id: 'text', state: 'text' },
          }),
          ...(claims.some(({ spoiled }) => spoiled) ? [spoil] : []),
        ],
      }),
      look: {
        read: (claims) => [
          batch.readRows({
            table: 'parcel',
            keys: [...new Set(claims.map(({ parcel }) => parcel))].map((id) => ({ id })),
            columns: ['id', 'state'],
          }),
        ],
        objections(claims, [there]) {
          const states = new Map(there?.rows.map(({ id, state }) => [String(id), state]));
          return claims.map(({ parcel }) =>
            states.get(parcel) === 'WAITING' ? undefined : refused('wrong-state'),
          );
        },
      },
    },
    settlements: {
      ...grouped.settlements,
      optimistic(settlements) {
        if (settlements.some(({ call }) => call.attempt !== 1)) return undefined;
        return {
          answers: settlements.map(({ value }) => answer(201, `booked ${value.booking}`)),
          writes: [
            ...batch.changeRows({
              table: 'parcel',
              keys: settlements.map(({ call }) => ({ id: call.subject })),
              expect: { state: 'BOOKING', attempt: 1 },
              set: settlements.map(() => ({ state: 'BOOKED' })),
            }),
            batch.insertRows({
              table: 'receipt',
              rows: settlements.map(({ call, value }) => ({ parcel: call.subject, booking: value.booking })),
            }),
          ],
        };
      },
    },
  };

  const definitionOf = (
    name: string,
    repeat: Repeat,
    compensates: boolean,
    receiver: Receiver,
    isOptimistic: boolean,
  ): Definition => ({
    name,
    repeat,
    send: receiver.send,
    lookUp: receiver.lookUp,
    async settle(transaction, { subject, attempt }, { booking }) {
      const moved = await move(transaction, subject, { state: 'BOOKING', attempt }, { state: 'BOOKED' });
      if (moved.outcome !== 'done') return refused('not-open');
      await transaction.execute(database.statement('INSERT INTO receipt VALUES (?, ?)', subject, booking));
      return done(answer(201, `booked ${booking}`));
    },
    async release(transaction, { subject, attempt }, why) {
      await give(transaction, subject, attempt);
      return answer(402, `${why.reason} ${'code' in why ? why.code : ''}`.trim());
    },
    forget: (transaction, { subject, attempt }) => give(transaction, subject, attempt),
    grouped: isOptimistic ? optimistic : grouped,
    ...(compensates
      ? { compensation: { ...compensation, send: receiver.cancel, lookUp: receiver.lookUpCancel } }
      : {}),
  });

  const past = {
    postgres: `clock_timestamp() - interval '1 second'`,
    mysql: 'UTC_TIMESTAMP(6) - INTERVAL 1 SECOND',
  };
  const setPast = (column: string, parcel: string) =>
    database.query(
      `UPDATE ${CALLS} SET ${column} = ${past[database.kind]} WHERE subject = ? AND expires_at IS NULL`,
      parcel,
    );
  const store = sqlDurableCallStore(first);

  const together = database.open({ over: 'together', connections: 10 });
  const groupsOf = ({ pool, ...groups }: NonNullable<InstanceOptions['groups']>) => ({
    ...groups,
    sql: pool === undefined ? together : database.open({ over: 'together', ...pool }),
  });

  return {
    database,

    scene({ repeat = 'idempotent', compensates = true, isOptimistic = false } = {}) {
      const name = `book ${++names}`;
      const receiver = new Receiver(repeat === 'idempotent');
      let instances = 0;
      let parcels = 0;
      return {
        receiver,
        instance(options = {}) {
          const { definition, store: around = (given) => given, pool, groups, ...rest } = options;
          const sql = pool === undefined ? pools[instances++ % pools.length] : database.open(pool);
          if (sql === undefined) throw new Error('no pool');
          const events: DurableCallEvent[] = [];
          const given = definitionOf(name, repeat, compensates, receiver, isOptimistic);
          const calls = durableCalls(
            around(sqlDurableCallStore(sql, groups === undefined ? {} : { groups: groupsOf(groups) }), sql),
            { ...given, ...definition?.(given) },
            { leaseMs: HOUR_MS, onEvent: (event) => events.push(event), ...rest },
          );
          return {
            calls,
            events,
            book: (parcel, { finalAfterMs, ...request } = {}) =>
              calls.run({ scope: SCOPE, key: parcel, payload: '{}', ...request }, async (transaction) => {
                const claimed = await claim(transaction, parcel);
                if (claimed.outcome !== 'done' || finalAfterMs === undefined) return claimed;
                return done({ ...claimed.value, finalAfterMs });
              }),
            bookTogether: (parcel, { finalAfterMs, spoiled, ...request } = {}) =>
              calls.runGrouped(
                { scope: SCOPE, key: parcel, payload: '{}', ...request },
                {
                  parcel,
                  ...(finalAfterMs === undefined ? {} : { finalAfterMs }),
                  ...(spoiled === undefined ? {} : { spoiled }),
                },
              ),
          };
        },
        async parcel() {
          const id = `${name.replace(' ', '-')}-${++parcels}`;
          await database.query(`INSERT INTO parcel VALUES (?, 'WAITING', 1)`, id);
          return id;
        },
        call: (parcel, key = parcel) => store.find({ scope: SCOPE_TEXT, key }),
      };
    },

    async rows(parcel) {
      const { rows } = await database.query('SELECT state, attempt FROM parcel WHERE id = ?', parcel);
      const receipts = await database.query('SELECT booking FROM receipt WHERE parcel = ?', parcel);
      return {
        state: String(rows[0]?.state),
        attempt: Number(rows[0]?.attempt),
        receipts: receipts.rows.length,
      };
    },

    async endLease(parcel) {
      await setPast('lease_until', parcel);
    },
    async makeFinal(parcel) {
      await setPast('final_after', parcel);
    },
    close: () => database.close(),
  };
}

/** A store that asks nobody whether he still holds the call, once the caller's rows have been written. */
export function unfenced(store: CallStore, sql: SqlPort): CallStore {
  return {
    ...store,
    settle: (_id, _fence, decide) =>
      transact(sql, async (transaction) => {
        const decided = await decide(transaction);
        return decided.outcome === 'done' ? done(undefined) : decided;
      }),
  };
}
