import { DBOS } from '@dbos-inc/dbos-sdk';
import { CONNECTIONS, openDatabase } from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { DONE, DUPLICATE } from '../purchase.ts';
import { openGateway } from './gateway.ts';
import { claimOrder, insertBill, settleOrder } from './statements.ts';

/** A workflow of three steps whose id is the order. */
export const openDbos: OpenOperation = async (urls) => {
  const { run, transact, close } = openDatabase('postgres', urls);
  const gateway = openGateway();
  const asked = new Set<number>();

  async function purchase(order: number): Promise<string> {
    const claimed = await DBOS.runStep(() => claimOrder({ run }, order), { name: 'claim' });
    if (!claimed) return DUPLICATE;
    const approval = await DBOS.runStep(() => gateway.charge(order), { name: 'charge' });
    const settle = () =>
      transact(async (session) => {
        if (!(await settleOrder(session, order, approval))) return { commit: false, value: 'lost' };
        await insertBill(session, order, approval);
        return { commit: true, value: DONE };
      });
    return DBOS.runStep(settle, { name: 'settle' });
  }

  DBOS.setConfig({
    name: 'bench',
    systemDatabaseUrl: urls.postgres,
    systemDatabasePoolSize: CONNECTIONS,
    logLevel: 'error',
  });
  const workflow = DBOS.registerWorkflow(purchase, { name: 'purchase' });
  await DBOS.launch();
  return {
    async operate(order) {
      // Who comes while it runs joins it, and is told its result.
      const isFirst = !asked.has(order);
      asked.add(order);
      const handle = await DBOS.startWorkflow(workflow, { workflowID: `order-${order}` })(order);
      const outcome = await handle.getResult();
      return isFirst || outcome !== DONE ? outcome : DUPLICATE;
    },
    async close() {
      await DBOS.shutdown();
      await close();
    },
  };
};
