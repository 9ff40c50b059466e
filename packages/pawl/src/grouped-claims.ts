import { StoreError } from './errors.ts';
import { type GroupCommitOptions, type GroupRefusal, groupCommit } from './group-commit.ts';
import {
  kept,
  lost,
  type RequestDecision,
  rowName,
  sizeOf,
  submitted,
  together,
} from './grouped-requests.ts';
import { observed, type Seen } from './observe.ts';
import { type Done, done, type Refused } from './outcome.ts';
import type { SqlPort, SqlStatement } from './ports.ts';
import {
  CLAIM,
  type Claim,
  type ClaimHeld,
  claimUnique,
  type FoundHolder,
  held,
  holderOf,
  holderStatement,
  requireClaim,
} from './unique-claim.ts';

export interface GroupedClaims {
  /**
   * As `claimUnique`. Refused besides as `GroupCommit.submit` says; nothing was claimed then.
   *
   * @throws StoreError  As `claimUnique`. `effect: 'unknown'`: the answer to the COMMIT of its batch was lost.
   * @throws MisuseError  As `claimUnique`.
   */
  claim(claim: Claim): Promise<Done<void> | ClaimHeld | Refused<GroupRefusal>>;
}

/**
 * How long a batch waits for somebody who is inserting one of its claims, in milliseconds: until he commits, if it is a batch too. What
 * takes longer is waited for apart. (InnoDB counts whole seconds.)
 */
const MOMENT_MS = 50;

/**
 * Unique claims whose callers share transactions (`groupCommit`). Each has its own outcome; of several in a batch that claim one key the
 * first has it, and the others are told.
 *
 * A claim whose lease is over is taken over alone, by `claimUnique`, and so are renewals and releases made: they are not of this group.
 *
 * Cost: two round trips and one commit for each batch, two statements for each claim. Whoever loses because somebody came in between asks
 * once more who that was.
 *
 * @param sql  Best with `readThenWrite`, and for nothing else: see `groupCommit`.
 * @throws MisuseError  An option.
 */
export function groupedClaims(sql: SqlPort, options: GroupCommitOptions): GroupedClaims {
  const { dialect } = sql;
  const limits = (wait: boolean) => (wait ? [] : [dialect.limitLockWait(MOMENT_MS)]);
  const group = groupCommit<ClaimRequest, Done<Told>>(
    sql,
    {
      keyOf: ({ claim }) => rowName(claim),
      sizeOf: ({ claim: { key, values } }) => sizeOf(key, values),
      read: (requests, wait) => [...limits(wait), ...requests.map(({ look }) => look)],
      decide(requests, read) {
        const isLimited = read.length > requests.length;
        const looks = isLimited ? read.slice(1) : read;
        const names = requests.map(({ claim }) => rowName(claim));
        const seen = new Set<string>();
        const decisions = requests.map(({ claim, write }, index): RequestDecision<Told> => {
          const found = holderOf(claim, looks[index] ?? { rows: [], affectedRows: 0 });
          if (found.row !== undefined) return { writes: [], outcome: () => done(found) };
          // By somebody in the same batch: it is looked at again when that is committed.
          const name = names[index] as string;
          if (seen.has(name)) return { writes: [], outcome: () => done('again') };
          seen.add(name);
          return {
            writes: [write],
            outcome: ([inserted]) => done(inserted?.affectedRows === 1 ? 'claimed' : 'refused'),
          };
        });
        // Two batches that share several claims wait for one another in one direction only.
        const byName = names.map((_, index) => index).sort((a, b) => compare(names[a], names[b]));
        const { writes, outcomes } = together(decisions, byName);
        return { writes: isLimited ? [...writes, dialect.restoreLockWait] : writes, outcomes };
      },
      unknown: lost,
    },
    options,
  );

  async function submit(claim: Claim, _: undefined, seen: Seen | undefined) {
    requireClaim(claim);
    const request = {
      claim,
      look: kept(holderStatement(dialect, claim)),
      write: kept(dialect.claim(claim)),
    };
    const told = await submitted(group, request).catch((error: unknown) => {
      // Alone in its transaction, and refused twice: by another unique column, or by somebody who came in between twice.
      if (error instanceof StoreError && error.code === 'DUPLICATE_KEY') return 'refused' as const;
      throw error;
    });
    if (told === 'claimed') {
      seen?.claimed({ takeover: false });
      return done(undefined);
    }
    if (typeof told === 'object' && 'outcome' in told) return told;
    const found = told === 'refused' ? holderOf(claim, await sql.execute(request.look)) : told;
    return found.leaseIsOver ? claimUnique(sql, claim) : held(found.row);
  }

  return { claim: (claim) => observed(CLAIM, dialect.name, submit, claim, undefined) };
}

function compare(a = '', b = ''): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** `refused`: the database would not have it, whoever has it now. */
type Told = 'claimed' | 'refused' | 'again' | FoundHolder;

/** A claim with its statements: what cannot be written is told to its caller alone. */
interface ClaimRequest {
  readonly claim: Claim;
  readonly look: SqlStatement;
  readonly write: SqlStatement;
}
