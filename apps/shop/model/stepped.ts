import { type Done, type DurableCallStore, type Refused, StoreError } from 'pawl';
import type { Actor, StepFault } from './scheduler.ts';
import type { Trx } from './table.ts';

const before: readonly StepFault[] = ['store-fails'];
const beforeTransaction: readonly StepFault[] = ['store-conflict', 'store-fails'];
const after: readonly StepFault[] = ['store-answer-lost'];

/** One step before it takes effect, and one before its answer is heard. */
export async function stepped<Result>(
  actor: Actor,
  label: string,
  effect: () => Promise<Result>,
  shown: (result: Result) => string,
): Promise<Result> {
  mustNotFail(await actor.at(label, before));
  return heard(actor, effect, shown);
}

/** The store as a process meets it: it may die, or stand still, before and after each of its transactions. */
export function steppedStore(actor: Actor, store: DurableCallStore<Trx>): DurableCallStore<Trx> {
  /** What meets a conflict is rolled back, and runs again from its beginning, its hook included. */
  async function transaction<Result extends Done<unknown> | Refused>(
    label: string,
    meetConflict: () => Promise<unknown>,
    effect: () => Promise<Result>,
  ): Promise<Result> {
    const fault = await actor.at(label, beforeTransaction);
    if (fault === 'store-conflict') {
      await meetConflict().catch(mustBeConflict);
      await actor.at(`${label}, again after a conflict`);
    } else {
      mustNotFail(fault);
    }
    return heard(actor, effect, (result) => (result.outcome === 'refused' ? result.reason : result.outcome));
  }

  return {
    claim: (claim) =>
      transaction(
        'claims',
        () => store.claim(conflicting(claim)),
        () => store.claim(claim),
      ),
    settle: (id, fence, decide) =>
      transaction(
        `writes with fence ${fence}`,
        () => store.settle(id, fence, conflicting(decide)),
        () => store.settle(id, fence, decide),
      ),
    reopen: (attempt, decide) =>
      transaction(
        'reopens',
        () => store.reopen(attempt, conflicting(decide)),
        () => store.reopen(attempt, decide),
      ),
    forget: (id, fence, give) =>
      transaction(
        `forgets with fence ${fence}`,
        () => store.forget(id, fence, conflicting(give)),
        () => store.forget(id, fence, give),
      ),
    change: (id, fence, change) =>
      stepped(
        actor,
        `leaves it ${change.state} with fence ${fence}`,
        () => store.change(id, fence, change),
        (isChanged) => (isChanged ? 'done' : 'fenced'),
      ),
    takeOver: (name, limit, leaseMs) =>
      stepped(
        actor,
        'takes over',
        () => store.takeOver(name, limit, leaseMs),
        (calls) =>
          calls.map(({ subject, attempt, fence }) => `${subject}:${attempt} with fence ${fence}`).join(', '),
      ),
    find: (id) =>
      stepped(
        actor,
        'reads the record',
        () => store.find(id),
        (found) => found?.state ?? 'none',
      ),
    sweep: (limit) => store.sweep(limit),
  };
}

async function heard<Result>(
  actor: Actor,
  effect: () => Promise<Result>,
  shown: (result: Result) => string,
): Promise<Result> {
  const result = await effect();
  const fault = await actor.at(`← ${shown(result)}`, after);
  if (fault !== undefined) throw new StoreError('CONNECTION_LOST', 'unknown', 'the answer is lost');
  return result;
}

function mustNotFail(fault: StepFault | undefined): void {
  if (fault !== undefined) throw new StoreError('UNAVAILABLE', 'none', 'nothing was done');
}

function conflicting(hook: (trx: Trx) => Promise<unknown>): (trx: Trx) => Promise<never> {
  return async (trx) => {
    await hook(trx);
    throw new StoreError('DEADLOCK', 'none', 'all of it is rolled back');
  };
}

function mustBeConflict(error: unknown): void {
  if (!(error instanceof StoreError)) throw error;
}
