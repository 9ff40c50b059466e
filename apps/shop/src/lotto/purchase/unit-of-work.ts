import { type Done, type Refused, transact, versionedUpdate } from 'pawl';
import type { PublishStatus, ShopTransaction } from '../../store/database.ts';
import { auditStatus, readStatus } from '../publish.ts';
import { underWay } from './steps.ts';
import { ConcurrencyFailure, type Purchase, type PurchaseTools } from './strategy.ts';

/** A publish as an ORM hands it out: change it, and the change is written when the unit of work commits. */
export interface ManagedPublish {
  status: PublishStatus;
}

export interface UnitOfWork {
  load(): Promise<ManagedPublish>;
}

/**
 * A unit of work around one purchase's publish, as an ORM runs it: `work` changes the objects that it has
 * loaded, and only afterwards, at the commit, are the changes flushed, each with `WHERE version = <as loaded>`.
 *
 * @throws ConcurrencyFailure  The version had moved on. It is thrown by the flush: *after* `work` has returned,
 *   where no `try` inside `work` can catch it. Everything is rolled back.
 */
export function unitOfWork<Result extends Done<void> | Refused>(
  { sql }: PurchaseTools,
  purchase: Purchase,
  work: (unit: UnitOfWork) => Promise<Result>,
): Promise<Result> {
  return transact(sql, async (transaction) => {
    const loaded: (() => Promise<void>)[] = [];
    const result = await work({
      async load() {
        const { status, version } = await readStatus(transaction.trx, purchase.lottoPublishId);
        const publish = { status };
        loaded.push(async () => {
          if (publish.status !== status) await flush(transaction, purchase, status, publish.status, version);
        });
        return publish;
      },
    });
    for (const flushChanges of loaded) await flushChanges();
    return result;
  });
}

async function flush(
  transaction: ShopTransaction,
  purchase: Purchase,
  from: PublishStatus,
  to: PublishStatus,
  version: number,
): Promise<void> {
  const written = await versionedUpdate(transaction, {
    table: 'lotto_publish',
    key: { id: purchase.lottoPublishId },
    version: { column: 'version', value: version },
    set: { status: to, ...underWay(purchase) },
  });
  if (written.outcome !== 'done') {
    throw new ConcurrencyFailure('the row was changed by another transaction');
  }
  await auditStatus(transaction, purchase, from, to);
}
