import { type ConditionalUpdate, requireUpdate, UPDATE } from './conditional-update.ts';
import { type GroupCommitOptions, type GroupRefusal, groupCommit, HELD } from './group-commit.ts';
import { kept, lost, rowName, sizeOf, together } from './grouped-requests.ts';
import { observed } from './observe.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type { SqlDialect, SqlPort, SqlStatement } from './ports.ts';

export interface GroupedUpdates {
  /**
   * As `conditionalUpdate`. Refused besides as `GroupCommit.submit` says; nothing was changed then.
   *
   * @throws StoreError  As `conditionalUpdate`. `effect: 'unknown'`: the answer to the COMMIT of its batch was lost.
   * @throws MisuseError  As `conditionalUpdate`.
   */
  update(update: ConditionalUpdate): Promise<Done<void> | Refused<'wrong-state' | GroupRefusal>>;
}

/**
 * Conditional updates whose callers share transactions (`groupCommit`): of any rows, also of one. Each has its own outcome, and
 * those of one row in a batch are made one after the other.
 *
 * The row of each is locked first, by its key, and passed over where somebody else has it; then the database compares what is expected.
 * Like `conditionalUpdate` it protects the one row, and only against writers that check the same condition.
 *
 * Cost: two round trips and one commit for each batch, on PostgreSQL also where all were refused, since it writes locks down; two
 * statements for each update.
 *
 * @param sql  Best with `readThenWrite`, and for nothing else: see `groupCommit`.
 * @throws MisuseError  An option.
 */
export function groupedUpdates(sql: SqlPort, options: GroupCommitOptions): GroupedUpdates {
  const { dialect } = sql;
  const group = groupCommit<UpdateRequest, Done<boolean>>(
    sql,
    {
      keyOf: ({ update }) => rowName(update),
      sizeOf: ({ update: { key, expect, set } }) => sizeOf(key, expect, set),
      read: (requests, wait) => requests.map(({ lock, waitForLock }) => (wait ? waitForLock : lock)),
      decide: (requests, read) =>
        together(
          requests.map(({ write, look }, index) => {
            const isLocked = (read[index]?.rows.length ?? 0) > 0;
            if (isLocked) {
              return { writes: [write], outcome: ([changed]) => done((changed?.affectedRows ?? 0) > 0) };
            }
            // Another's, or not there.
            return { writes: [look], outcome: ([found]) => (found?.rows.length ? HELD : done(false)) };
          }),
        ),
      unknown: lost,
    },
    options,
  );

  async function submit(
    update: ConditionalUpdate,
  ): Promise<Done<void> | Refused<'wrong-state' | GroupRefusal>> {
    requireUpdate(update);
    const told = await group.submit(requestOf(dialect, update));
    if (told.outcome === 'refused') return told;
    return told.value ? done(undefined) : refused('wrong-state');
  }

  return { update: (update) => observed(UPDATE, dialect.name, submit, update, undefined) };
}

/** An update with its statements: what cannot be written is told to its caller alone. */
interface UpdateRequest {
  readonly update: ConditionalUpdate;
  readonly lock: SqlStatement;
  readonly waitForLock: SqlStatement;
  readonly look: SqlStatement;
  readonly write: SqlStatement;
}

function requestOf(dialect: SqlDialect, update: ConditionalUpdate): UpdateRequest {
  const { table, key } = update;
  const columns = Object.keys(key);
  const [orderBy = ''] = columns;
  const row = { table, key, expect: {}, columns, mode: 'update', noWait: false } as const;
  return {
    update,
    write: kept(dialect.conditionalUpdate(update)),
    waitForLock: kept(dialect.lockRow(row)),
    lock: kept(dialect.lockAvailableRows({ table, expect: key, columns, orderBy, limit: 1 })),
    look: kept(dialect.readClaim({ table, key })),
  };
}
