import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse, request as upload } from 'node:http';
import {
  done,
  type IdempotentOutcome,
  InvalidKeyError,
  idempotencyKeys,
  memoryIdempotencyStore,
  type RefusalReason,
  type Refused,
  refused,
  StoreError,
} from 'pawl';

const keys = idempotencyKeys(memoryIdempotencyStore(), { waitMs: 5_000 }); // In a service: sqlIdempotencyStore(sql)
const MOST_BYTES = 100_000;
let charges = 0;

/** 409: the state says no. 422: another request. 503: nobody has decided, so send it again. */
const STATUS: Record<RefusalReason, number> = {
  'in-progress': 409,
  'already-done': 409,
  'wrong-state': 409,
  'already-issued': 409,
  'sold-out': 409,
  'payload-mismatch': 422,
  declined: 402,
  'not-eligible': 403,
  'not-open': 403,
  'quota-reached': 429,
  'lock-timeout': 503,
  contended: 503,
  fenced: 503,
  overloaded: 503,
};

function respond(response: ServerResponse, outcome: IdempotentOutcome | Refused): void {
  if (outcome.outcome === 'done') {
    const { status, headers, body } = outcome.value;
    response.writeHead(status, { ...headers, 'idempotent-replayed': String(outcome.replayed) }).end(body);
  } else if (outcome.outcome === 'unknown') {
    // Neither a success nor a failure: where to look later.
    response.writeHead(202, { location: '/orders/7' }).end();
  } else {
    const again = 'retryAfterMs' in outcome ? outcome.retryAfterMs : 1_000;
    const later = outcome.reason === 'in-progress' || STATUS[outcome.reason] === 503;
    if (later) response.setHeader('retry-after', Math.max(1, Math.ceil(again / 1_000)));
    response.writeHead(STATUS[outcome.reason]).end(outcome.reason);
  }
}

/**
 * The bytes, before anything parses them; undefined where they are too many, which are read all the same, so that the client
 * gets to the answer. @throws when the upload breaks off.
 */
async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes <= MOST_BYTES) chunks.push(chunk);
  }
  return bytes <= MOST_BYTES ? Buffer.concat(chunks) : undefined;
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const member = 'member 1'; // From what has been authenticated, never from the request's own words.
  const [path] = (request.url ?? '').split('?'); // The route, without the query.
  const key = String(request.headers['idempotency-key'] ?? '');
  try {
    const payload = await bodyOf(request);
    if (payload === undefined) {
      response.writeHead(413).end();
      return;
    }
    const scope = [member, `${request.method} ${path}`];
    const outcome = await keys.run({ scope, key, payload }, async () => {
      if (payload.includes('"orderId":8')) return refused('declined');
      charges++;
      return done({ status: 200, body: Buffer.from('{"paid":true}') });
    });
    respond(response, outcome);
  } catch (error) {
    if (error instanceof InvalidKeyError) response.writeHead(400).end(error.message);
    else if (error instanceof StoreError) response.setHeader('retry-after', 1).writeHead(503).end();
    else response.writeHead(500).end(); // After an upload that broke off nobody reads it.
  }
}

const server = createServer((request, response) => {
  // The server waits for no promise, and a rejection that nobody handles ends the process.
  handle(request, response).catch(() => response.destroy());
});
server.listen(0, '127.0.0.1', async () => {
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/orders/pay`;
  const send = async (key: string, body: string) => {
    const response = await fetch(url, { method: 'POST', headers: { 'idempotency-key': key }, body });
    return response.status;
  };
  const five = Array.from({ length: 5 }, () => send('a', '{"orderId":7}'));
  console.log(`the same five times: ${(await Promise.all(five)).join(' ')}`);
  console.log(`another payload: ${await send('a', '{"orderId":9}')}`);
  console.log(`declined: ${await send('b', '{"orderId":8}')}`);
  console.log(`no key: ${await send('', '{"orderId":7}')}`);
  console.log(`too long: ${await send('c', ' '.repeat(MOST_BYTES + 1))}`);
  const headers = { 'idempotency-key': 'd', 'content-length': 100 };
  const brokenOff = upload(url, { method: 'POST', headers }).on('error', () => undefined);
  brokenOff.write('{"orderId":7}');
  await once(server, 'request');
  brokenOff.destroy();
  console.log(`after an upload that broke off: ${await send('a', '{"orderId":7}')}`);
  console.log(`charges: ${charges}`);
  server.close();
});
