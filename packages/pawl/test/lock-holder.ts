import { parseArgs } from 'node:util';
import { lockPool } from './lock-pools.ts';

/** What it tells; `renewed` each time. */
export type HolderMessage = 'held' | 'renewed' | 'lost';

/**
 * A process that takes a lock, renews it four times a lease, and tells what becomes of it: `--url U --key K --lease-ms N`. It
 * ends with its channel.
 */
const { values } = parseArgs({
  options: { url: { type: 'string' }, key: { type: 'string' }, 'lease-ms': { type: 'string' } },
});
const { url = '', key = '', 'lease-ms': lease } = values;
const leaseMs = Number(lease);
const tell = (message: HolderMessage) => process.send?.(message);

process.on('disconnect', () => process.exit());

const { store } = lockPool(url);
const grant = await store.queue(key, { leaseMs, wait: true }).granted;
grant?.onLost(() => tell('lost'));
setInterval(async () => {
  if (await grant?.renew().catch(() => false)) tell('renewed');
}, leaseMs / 4);
tell('held');
