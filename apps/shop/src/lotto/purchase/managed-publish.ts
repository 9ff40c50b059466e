import { done, versionedUpdate } from 'pawl';
import type { PublishStatus, ShopTransaction } from '../../store/database.ts';
import type { Managed } from '../../store/unit-of-work.ts';
import { auditStatus, readStatus } from '../publish.ts';
import { underWay } from './steps.ts';
import type { Purchase } from './strategy.ts';

/** A publish in a unit of work. */
export interface ManagedPublish {
  status: PublishStatus;
}

export const managedPublish =
  (purchase: Purchase) =>
  async (transaction: ShopTransaction): Promise<Managed<ManagedPublish>> => {
    const { status, version } = await readStatus(transaction.trx, purchase);
    const publish = { status };
    return {
      entity: publish,
      async flush() {
        if (publish.status === status) return done(undefined);
        const written = await versionedUpdate(transaction, {
          table: 'lotto_publish',
          key: { id: purchase.lottoPublishId },
          version: { column: 'version', value: version },
          set: { status: publish.status, ...underWay(purchase) },
        });
        if (written.outcome === 'done') await auditStatus(transaction, purchase, status, publish.status);
        return written;
      },
    };
  };
