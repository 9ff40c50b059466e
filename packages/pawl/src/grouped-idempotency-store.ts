import { StoreError } from './errors.ts';
import {
  type GroupCommit,
  type GroupCommitOptions,
  type GroupRefusal,
  type GroupWork,
  groupCommit,
  HELD,
} from './group-commit.ts';
import {
  type ClaimedRecord,
  type IdempotencyClaim,
  type IdempotencyRecord,
  type IdempotencyRecordId,
  recordFromRow,
  recordKey,
} from './idempotency-record.ts';
import {
  type SqlIdempotencyStore,
  type SqlIdempotencyStoreOptions,
  sqlIdempotencyStore,
} from './idempotency-store.ts';
import { type Done, done } from './outcome.ts';
import type { ChangedRecord, Decision, IdempotencyChange, Row, SqlPort } from './ports.ts';
import { pawlTables } from './tables.ts';

export type GroupedIdempotencyStoreOptions = SqlIdempotencyStoreOptions & Partial<GroupCommitOptions>;

/** A key is claimed and then completed, and who replays under load comes again at once: see `maxShare`. */
const HALF = 0.5;

/**
 * How long a batch waits for others who insert one of its records, in milliseconds: until they commit, if they are a batch too; and
 * not for a transaction of somebody who has it in the other mode. InnoDB counts whole seconds.
 */
const MOMENT_MS = 50;

/** In bytes. In the text of a statement an answer takes twice its length, which a server takes but so much of. */
const LARGE_BODY = 1_048_576;

/** How much the latest claim says of the next. */
const RECENT = 0.05;

/** With one in a hundred that is not, every third batch would have one. */
const NEARLY_ALL = 0.999;

/** How often somebody may come in between before a claim gives up. */
const TURNS = 10;

/**
 * As `sqlIdempotencyStore`, over the same records, beside which it may be used: but callers of one process share round trips and commits
 * (`groupCommit`). Each is told what he would have been told alone.
 *
 * While most claims are fresh, they insert first, and look for what is there already; while most are not, they look first, in a plain statement
 * for all that claim or read at that time, so that a replay, and whoever finds a key in progress, begins no transaction. Neither waits
 * for a record that is there. Claims share a transaction, and so do completions, renewals and
 * releases, which pass over records that somebody's transaction is completing, and wait for those apart. As in `sqlIdempotencyStore`, one
 * at a time, are taken over what somebody has abandoned and what is past its retention; so are claims in `transactional` mode,
 * whatever is done `within` a transaction, sweeps, the reading of answers above 16 KiB, and the writing of those above 1 MiB.
 *
 * It is `sqlIdempotencyStore` itself with `together: false`, and where the port has no `readThenWrite`.
 *
 * Besides what `IdempotencyStore` says its methods throw a `StoreError` with `effect: 'none'` that is `UNAVAILABLE` where too many wait
 * (`maxWaiting`), and `LOCK_TIMEOUT` where somebody has had the record for `lockWaitMs`.
 *
 * Cost: a fresh operation has its part in two round trips and two commits (on MySQL four round trips in a pool that is not `forGroups`), a
 * replay in one round trip, or in two (on MySQL three) where it is an exception. Three connections, and one more for each record that is waited for
 * (`maxHeldKeys`) and for each takeover at the same time.
 *
 * @param options.name  In front of what each of its three groups is called: `look`, `claim`, `change`. Default: `idempotency-key`.
 * @throws MisuseError  An option.
 */
export function groupedIdempotencyStore(
  sql: SqlPort,
  options: GroupedIdempotencyStoreOptions = {},
): SqlIdempotencyStore {
  const { table = pawlTables().idempotencyKey, name = 'idempotency-key', ...settings } = options;
  const alone = sqlIdempotencyStore(sql, { table });
  const groupOf = <Item, Value>(work: GroupWork<Item, Done<Value>>, step: string, maxShare: number) =>
    groupCommit(sql, work, { maxShare, ...settings, name: `${name} ${step}` });
  const lookups = groupOf(looking(sql, table), 'look', HALF);
  const inserts = groupOf(
    inserting(sql, table, () => freshness > NEARLY_ALL),
    'claim',
    HALF,
  );
  const changes = groupOf(changing(sql, table), 'change', HALF);
  if (options.together === false || sql.readThenWrite === undefined) return alone;

  /** How many of the latest claims were of keys that were not there, about. It decides what is tried first, and nothing else. */
  let freshness = 1;

  async function claim(claim: IdempotencyClaim): Promise<ClaimedRecord> {
    if (claim.mode !== 'leased') return alone.claim(claim);
    let looks = freshness < 0.5;
    for (let turn = 0; turn < TURNS; turn++, looks = true) {
      let row: Row | undefined;
      if (looks) row = await submitted(lookups, claim);
      if (row === undefined) {
        const told = await inserted(claim);
        if (told === 'claimed') {
          freshness += (1 - freshness) * RECENT;
          return { claimed: true, attempt: 1 };
        }
        // Somebody has come in between, or before.
        if (told === 'late') continue;
        row = told;
      }
      freshness -= freshness * RECENT;
      if (isLong(row)) return alone.claim(claim);
      const record = recordFromRow(row);
      if (isFree(row, record, claim)) return alone.claim(claim);
      return { claimed: false, record };
    }
    throw new StoreError('SERIALIZATION_FAILURE', 'none', 'others came in between too often');
  }

  /** Where others insert and give back in turn, its insertion may fail more often than its batch is tried. */
  async function inserted(claim: IdempotencyClaim): Promise<'claimed' | 'late' | Row> {
    try {
      return await submitted(inserts, claim);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'DUPLICATE_KEY' && error.effect === 'none')
        return 'late';
      throw error;
    }
  }

  async function changed(change: IdempotencyChange): Promise<boolean> {
    for (;;) {
      const told = await submitted(changes, change);
      if (told === 'perhaps') return wasCompleted(change);
      if (told !== 'again') return told === 'changed';
    }
  }

  /**
   * Of a batch whose records were all their completers' and in progress, but for some that were not there: whether it was there. Nobody
   * else shows its owner.
   */
  async function wasCompleted({ scope, key, owner }: IdempotencyChange): Promise<boolean> {
    try {
      const record = await read({ scope, key });
      return record?.owner === owner && record.answer !== undefined;
    } catch (error) {
      throw error instanceof StoreError
        ? new StoreError(error.code, 'unknown', error.message, { cause: error })
        : error;
    }
  }

  async function read(id: IdempotencyRecordId): Promise<IdempotencyRecord | undefined> {
    const row = await submitted(lookups, id);
    if (row === undefined || isExpired(row)) return undefined;
    return isLong(row) ? alone.read(id) : recordFromRow(row);
  }

  return {
    ...alone,
    claim,
    renew: ({ scope, key }, owner, { leaseMs, retentionMs }) =>
      changed({ scope, key, owner, change: 'renew', leaseMs, retentionMs }),
    complete(id, owner, answer, retentionMs) {
      if (answer.body.byteLength > LARGE_BODY) return alone.complete(id, owner, answer, retentionMs);
      const { scope, key } = id;
      return changed({ scope, key, owner, change: 'complete', answer, retentionMs });
    },
    release: ({ scope, key }, owner) => changed({ scope, key, owner, change: 'release' }),
    read,
  };
}

const isLong = (row: Row) => Number(row.is_long) === 1;
const isExpired = (row: Row) => Number(row.expired) === 1;

function isFree(row: Row, record: IdempotencyRecord, claim: IdempotencyClaim): boolean {
  const isAbandoned = record.answer === undefined && record.leaseLeftMs <= 0;
  return (
    isExpired(row) || (isAbandoned && record.mode === claim.mode && record.fingerprint === claim.fingerprint)
  );
}

const REFUSALS: Readonly<Record<GroupRefusal, () => StoreError>> = {
  overloaded: () => new StoreError('UNAVAILABLE', 'none', 'too many wait for a transaction that they share'),
  'lock-timeout': () => new StoreError('LOCK_TIMEOUT', 'none', 'somebody holds the record'),
  contended: () => new StoreError('SERIALIZATION_FAILURE', 'none', 'others came in between too often'),
};

async function submitted<Item, Value>(group: GroupCommit<Item, Done<Value>>, item: Item): Promise<Value> {
  const told = await group.submit(item);
  if (told.outcome === 'refused') throw REFUSALS[told.reason]();
  return told.value;
}

const keyOf = ({ scope, key }: IdempotencyRecordId) => recordKey(scope, key);

/** The first about each record; the items themselves where no two are about one. */
function firsts<Item extends IdempotencyRecordId>(items: readonly Item[]): readonly Item[] {
  // Whatever their scopes are.
  if (new Set(items.map(({ key }) => key)).size === items.length) return items;
  const keys = new Set<string>();
  const those = items.filter((item) => keys.size < keys.add(keyOf(item)).size);
  return those.length === items.length ? items : those;
}

/** What is known of each item, from what is known of the first about its record. */
function ofAll<Item extends IdempotencyRecordId, Known>(
  items: readonly Item[],
  firsts: readonly Item[],
  known: readonly Known[],
): readonly (Known | undefined)[] {
  if (firsts === items) return known;
  const byKey = new Map(firsts.map((item, index) => [keyOf(item), known[index]]));
  return items.map((item) => byKey.get(keyOf(item)));
}

/** What an item adds to a statement besides an answer's body, about, in bytes; text and bytes may be written in hexadecimal digits. */
const sizeOf = ({ scope, key }: IdempotencyRecordId) => 400 + 2 * (scope.length + key.length);

/** Whoever asked is told that the answer was lost: only the record can say what has become of it. */
function lost(_item: unknown, cause: unknown): never {
  throw cause instanceof StoreError
    ? cause
    : new StoreError('CONNECTION_LOST', 'unknown', 'the answer could not be read', { cause });
}

/** Reads the records, absent or with the columns of `IdempotencyBatchStatements.find`. */
function looking({ dialect }: SqlPort, table: string): GroupWork<IdempotencyRecordId, Done<Row | undefined>> {
  const { find, foundOf } = dialect.idempotencyBatch;
  return {
    keyOf,
    sizeOf,
    read: () => [],
    decide(items) {
      const ids = firsts(items);
      return {
        writes: [find(table, ids)],
        outcomes: ([found]) => ofAll(items, ids, foundOf(ids, found)).map((row) => done(row)),
      };
    },
    unknown(item, cause) {
      // It changes nothing, whether it was answered or not.
      if (!(cause instanceof StoreError)) return lost(item, cause);
      throw new StoreError(cause.code, 'none', cause.message, { cause });
    },
  };
}

/**
 * Inserts the records that are not there, and tells whether that was the case, or what is. Of several claims of one key in a batch the first
 * alone inserts: the others are as late as those of another process, and look.
 */
function inserting(
  { dialect, waitsBriefly = false }: SqlPort,
  table: string,
  areFresh: () => boolean,
): GroupWork<IdempotencyClaim, Done<'claimed' | 'late' | Row>> {
  const { find, foundOf, insert, insertsWaitForLocks, insertAll } = dialect.idempotencyBatch;
  const mustLimit = insertsWaitForLocks && !waitsBriefly;
  return {
    keyOf,
    sizeOf,
    // One that is there fails all, and leaves a line in the log of the server. One by itself is a message anyway, where none is looked for first.
    optimistic(items) {
      const isMessage = items.length === 1 && !insertsWaitForLocks;
      if (mustLimit || isMessage || !areFresh() || firsts(items) !== items) return undefined;
      return { writes: insertAll(table, items), outcomes: () => items.map(() => done('claimed')) };
    },
    // Whoever waits, waits in the insertion itself. By then it may be there.
    read(items, wait) {
      if (!wait && !insertsWaitForLocks) return [];
      const look = find(table, firsts(items));
      return wait || !mustLimit ? [look] : [dialect.limitLockWait(MOMENT_MS), look];
    },
    decide(items, read, waited) {
      const ids = firsts(items);
      const rows = ofAll(items, ids, foundOf(ids, read.at(-1)));
      const claims = firsts(items.filter((_, index) => rows[index] === undefined));
      const { writes, result }: Decision<readonly boolean[]> =
        claims.length === 0 ? { writes: [], result: () => [] } : insert(table, claims, waited);
      const isLimited = !waited && mustLimit && writes.length > 0;
      return {
        writes: isLimited ? [...writes, dialect.restoreLockWait] : writes,
        outcomes(written) {
          const inserted = result(written);
          const won = new Set(claims.filter((_, index) => inserted[index]));
          return items.map((item, index) => done(won.delete(item) ? 'claimed' : (rows[index] ?? 'late')));
        },
      };
    },
    unknown: lost,
  };
}

const isCompletion = (item: IdempotencyChange) => item.change === 'complete';

/** Of several changes of one record in a batch the first alone is made; the others come again. */
function changing(
  { dialect, waitsBriefly = false }: SqlPort,
  table: string,
): GroupWork<IdempotencyChange, Done<'changed' | 'fenced' | 'again' | 'perhaps'>> {
  const { readForChange, change, completeAll } = dialect.idempotencyBatch;
  return {
    keyOf,
    sizeOf: (item) => sizeOf(item) + (item.change === 'complete' ? 2 * item.answer.body.byteLength : 0),
    optimistic(items) {
      if (completeAll === undefined || !waitsBriefly) return undefined;
      const areFit = items.every(isCompletion) && firsts(items) === items;
      if (!areFit) return undefined;
      return {
        writes: completeAll(table, items),
        outcomes(written) {
          const completed = written.reduce((sum, { affectedRows }) => sum + affectedRows, 0);
          return items.map(() => done(completed === items.length ? 'changed' : 'perhaps'));
        },
      };
    },
    read: (items, wait) => readForChange(table, firsts(items), wait),
    decide(items, read) {
      const changes = firsts(items);
      const { writes, result } = change(table, changes, read);
      return {
        writes,
        outcomes(written) {
          const results = result(written);
          const told = (one: ChangedRecord | undefined) => {
            if (one === undefined) return done('again' as const);
            return one === 'held' ? HELD : done(one);
          };
          if (changes === items) return results.map(told);
          const made = new Map(changes.map((change, index) => [change, results[index]]));
          return items.map((item) => {
            const one = made.get(item);
            made.delete(item);
            return told(one);
          });
        },
      };
    },
    unknown: lost,
  };
}
