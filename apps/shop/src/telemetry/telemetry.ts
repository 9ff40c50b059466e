import type { StrictServer } from '@pawl/service-kit';
import { instrumentPawl } from 'pawl/opentelemetry';
import type { Issues } from '../coupons/issue/issue.ts';
import type { Purchases } from '../lotto/purchase/purchase.ts';
import type { PoolUse } from '../store/pool-use.ts';
import { observedIssues } from './issues.ts';
import { openMeters } from './meters.ts';
import { type OperationLog, operations } from './operations.ts';
import { measureProcess } from './process.ts';
import { observedPurchases } from './purchases.ts';
import { measureRequests } from './requests.ts';

/** What is counted, measured and logged of an instance. */
export interface Telemetry {
  /** In Prometheus' text format. */
  read(): Promise<string>;
  purchases(purchase: Purchases): Purchases;
  issues(issue: Issues): Issues;
  close(): Promise<void>;
}

/** Before the routes. The library's guards are counted by the process, which another instance in it shares. */
export function openTelemetry(
  app: StrictServer,
  { serverName, poolUse }: { serverName: string; poolUse: PoolUse },
): Telemetry {
  const meters = openMeters();
  const meter = meters.provider.getMeter('shop');
  measureRequests(app, meter);
  const endProcess = measureProcess(meter, poolUse);
  const endPawl = instrumentPawl({ meterProvider: meters.provider });
  const shopLog: StrictServer['log'] & { isLevelEnabled?(level: string): boolean } = app.log;
  const log: OperationLog = {
    write(details, name) {
      if (shopLog.isLevelEnabled?.('info') !== false)
        shopLog.info({ ...details(), instance: serverName }, name);
    },
    untold: (details, operation) =>
      shopLog.error({ ...details, operation, instance: serverName }, 'what came of an operation is not told'),
  };
  const ofPurchases = operations('purchase', meter, log);
  const ofIssues = operations('coupon.issue', meter, log);
  return {
    read: meters.read,
    purchases: (purchase) => observedPurchases(purchase, ofPurchases),
    issues: (issue) => observedIssues(issue, ofIssues),
    async close() {
      endPawl();
      endProcess();
      await meters.close();
    },
  };
}
