import {
  done,
  type IdempotencyStore,
  idempotencyKeys,
  memoryIdempotencyStore,
  migrate,
  sqlIdempotencyStore,
} from 'pawl';
import { openRedis } from './open-redis.ts';
import { onDatabase, race } from './stage.ts';

async function payFiftyTimes(store: IdempotencyStore) {
  const keys = idempotencyKeys(store, { waitMs: 5_000, onEvent: (event) => console.error(event) });
  const request = {
    scope: ['member 1', 'POST /orders/pay'],
    key: crypto.randomUUID(), // The Idempotency-Key header.
    payload: '{"orderId":7}', // The body as it arrived, before anything has parsed it.
  };
  let charges = 0;
  const pay = (payload: string) =>
    keys.run({ ...request, payload }, async () => {
      charges++;
      const headers = { 'content-type': 'application/json' };
      return done({ status: 200, headers, body: Buffer.from('{"paid":true}') });
    });
  console.log(await race(50, () => pay(request.payload)));
  console.log(await race(1, () => pay('{"orderId":8}')));
  console.log(`charges: ${charges}`);
}

const url = process.argv[2];
if (url === undefined) await payFiftyTimes(memoryIdempotencyStore());
else if (url.startsWith('redis:')) {
  const { store, close } = await openRedis(url);
  await payFiftyTimes(store).finally(close);
} else {
  await onDatabase({}, async (sql) => {
    await migrate(sql); // Or, when the service is deployed: pawl migrate
    await payFiftyTimes(sqlIdempotencyStore(sql));
  });
}
