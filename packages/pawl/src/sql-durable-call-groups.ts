import type { DurableCallGroups } from './durable-call-store.ts';
import { type GroupCommitOptions, groupCommit } from './group-commit.ts';
import { refused } from './outcome.ts';
import type { SqlPort } from './ports.ts';
import { AttemptTaken, ClaimWork, Latest, LookWork, MOST } from './sql-durable-call-claims.ts';
import { SettleWork } from './sql-durable-call-settlements.ts';

/** Over which connections the steps of many callers are committed together, and how. */
export interface DurableCallGroupOptions extends Omit<GroupCommitOptions, 'name'> {
  /**
   * Best with `readThenWrite`, and for nothing else: see `groupCommit`. Claims and settlements are a group each, and so are looks at claims
   * (`GroupedCallClaims.look`), which need one connection. `maxWaiting` is for each of the three.
   */
  readonly sql: SqlPort;
}

/** A call is claimed and then settled: see `maxShare`. */
const HALF = 0.5;

export function sqlDurableCallGroups(
  table: string,
  { sql, ...options }: DurableCallGroupOptions,
): DurableCallGroups {
  return {
    claims(name, grouped) {
      const latest = new Latest();
      const group = groupCommit(sql, new ClaimWork(sql, table, name, grouped, latest), {
        maxShare: HALF,
        ...options,
        name: `${name}.claim`,
      });
      const { look } = grouped;
      const looks =
        look &&
        options.together !== false &&
        groupCommit(sql, new LookWork(sql, table, grouped, look, latest), {
          maxShare: HALF,
          ...options,
          name: `${name}.look`,
        });
      return async (item) => {
        if (looks && latest.refused >= MOST) {
          const told = await looks.submit(item);
          if (told.outcome === 'refused') return told;
          if (told.value !== undefined) return told.value;
        }
        try {
          return await group.submit(item);
        } catch (error) {
          if (error instanceof AttemptTaken) return refused('already-done');
          throw error;
        }
      };
    },
    settlements(name, grouped) {
      const group = groupCommit(sql, new SettleWork(sql, table, grouped), {
        maxShare: HALF,
        ...options,
        name: `${name}.settle`,
      });
      return (item) => group.submit(item);
    },
  };
}
