import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import { type CommitFate, startProxy } from '../../../test/proxy.ts';
import {
  done,
  type GroupedIdempotencyStoreOptions,
  groupedIdempotencyStore,
  type IdempotencyClaim,
  type IdempotencyRecordId,
  idempotencyKeys,
  migrate,
  type ObservedBatch,
  observe,
  type SqlPort,
  sqlIdempotencyStore,
  transact,
} from '../src/index.ts';
import { answer, newRequest, shown } from './idempotency-stores.ts';
import { openStore, type PortOptions, type Session, type Store } from './stores.ts';

const TABLE = 'pawl_idempotency_key';
const TIMES = { leaseMs: 60_000, retentionMs: 600_000 };
const ITS = 'WHERE scope = ? AND idempotency_key = ?';

/** Another pool for groups than one that others use too is had on MySQL alone. */
const VARIANTS = [
  { on: 'postgres', name: 'postgres', forGroups: false },
  { on: 'mariadb', name: 'mariadb', forGroups: false },
  { on: 'mariadb in a pool for groups', name: 'mariadb', forGroups: true },
] as const;

let store: Store;
let sql: SqlPort;
let forGroups: boolean;

const newId = (): IdempotencyRecordId => ({ scope: '["member 1","POST /api/tickets"]', key: randomUUID() });

function claimOf(id: IdempotencyRecordId, more: Partial<IdempotencyClaim> = {}): IdempotencyClaim {
  return { ...id, mode: 'leased', fingerprint: 'a'.repeat(64), owner: randomUUID(), ...TIMES, ...more };
}

const answerOf = (text: string) => ({ ...answer(text), headers: { 'content-type': 'text/plain' } });

const openPort = (options: PortOptions = {}) =>
  store.open({ over: 'together', forGroups, connections: 8, ...options });

const grouped = (options: GroupedIdempotencyStoreOptions = {}, port: PortOptions = {}) =>
  groupedIdempotencyStore(openPort(port), options);

interface Mine {
  readonly id: IdempotencyRecordId;
  readonly owner: string;
}

/** How many statements are in each of its messages, but for those that begin and end transactions. */
function counted() {
  const port = openPort();
  const messages: number[] = [];
  const readThenWrite: SqlPort['readThenWrite'] = async (reads, decide) => {
    if (reads.length > 0) messages.push(reads.length);
    return port.readThenWrite?.(reads, (read) => {
      const decided = decide(read);
      messages.push(decided.writes.length);
      return decided;
    }) as never;
  };
  return { records: groupedIdempotencyStore({ ...port, readThenWrite }), messages };
}

/** A record that is in progress. */
async function inProgress(): Promise<Mine> {
  const id = newId();
  const claim = claimOf(id);
  expect(await sqlIdempotencyStore(sql).claim(claim)).toEqual({ claimed: true, attempt: 1 });
  return { id, owner: claim.owner };
}

/** Somebody who has the record's row, until `endSessions`. */
async function held({ scope, key }: IdempotencyRecordId): Promise<Session> {
  const holder = await store.connect();
  await holder.begin('READ COMMITTED');
  const { rows } = await holder.query(`SELECT owner FROM ${TABLE} ${ITS} FOR UPDATE`, scope, key);
  expect(rows).toHaveLength(1);
  return holder;
}

/** Somebody who is inserting the record, and has not committed. */
async function inserting({ scope, key }: IdempotencyRecordId): Promise<Session> {
  const other = await store.connect();
  await other.begin('READ COMMITTED');
  const now = store.kind === 'postgres' ? 'now()' : 'UTC_TIMESTAMP(6)';
  const later =
    store.kind === 'postgres' ? `now() + interval '1 hour'` : 'UTC_TIMESTAMP(6) + INTERVAL 1 HOUR';
  await other.query(
    `INSERT INTO ${TABLE}
       (scope, idempotency_key, mode, fingerprint, owner, attempt, lease_until, expires_at, created_at)
     VALUES (?, ?, 'leased', ?, ?, 1, ${later}, ${later}, ${now})`,
    scope,
    key,
    Buffer.alloc(32, 0xaa),
    randomUUID(),
  );
  return other;
}

function batches(): ObservedBatch[] {
  const seen: ObservedBatch[] = [];
  onTestFinished(observe({ began: () => undefined, batched: (batch) => seen.push(batch) }));
  return seen;
}

const settledSoon = async (work: Promise<unknown>) => {
  let settled = false;
  const end = () => {
    settled = true;
  };
  work.then(end, end);
  await new Promise((resolve) => setTimeout(resolve, 100));
  return settled;
};

describe.each(VARIANTS)('callers share transactions on $on', (variant) => {
  beforeAll(async () => {
    store = await openStore(variant.name);
    ({ forGroups } = variant);
    sql = store.open({ connections: 8 });
    await migrate(sql);
  });
  afterEach(() => store.endSessions());
  afterAll(() => store.close());

  test('60 operations take a few transactions, and each has its own record', async () => {
    const records = grouped();
    const seen = batches();
    const claims = Array.from({ length: 60 }, () => claimOf(newId()));
    const claimed = await together(60, (index) => records.claim(claims[index] as IdempotencyClaim));
    expect(claimed.every((one) => one.claimed && one.attempt === 1)).toBe(true);
    const completed = await Promise.all(
      claims.map((claim, index) => records.complete(claim, claim.owner, answerOf(`${index}`), 600_000)),
    );
    expect(completed.every(Boolean)).toBe(true);
    expect(seen.map(({ group, size }) => ({ group, size }))).toEqual([
      { group: 'idempotency-key claim', size: 32 },
      { group: 'idempotency-key claim', size: 28 },
      { group: 'idempotency-key change', size: 32 },
      { group: 'idempotency-key change', size: 28 },
    ]);
    const alone = sqlIdempotencyStore(sql);
    for (const [index, claim] of claims.entries()) {
      const found = await alone.claim(claimOf(claim));
      if (found.claimed || found.record.answer === undefined) throw new Error('not stored');
      expect(shown(found.record.answer)).toEqual(shown(answerOf(`${index}`)));
    }
  });

  test('one key several times in a batch is several requests: one has it, the others are told', async () => {
    const records = grouped();
    const id = newId();
    const claims = ['a', 'a', 'b', 'a'].map((digit) => claimOf(id, { fingerprint: digit.repeat(64) }));
    const others = Array.from({ length: 10 }, () => claimOf(newId()));
    const told = await Promise.all([...claims, ...others].map((claim) => records.claim(claim)));
    expect(told.filter(({ claimed }) => claimed)).toHaveLength(11);
    const winner = claims[told.findIndex(({ claimed }) => claimed)] as IdempotencyClaim;
    for (const one of told.slice(0, 4)) {
      if (one.claimed) continue;
      const { owner, fingerprint, attempt, answer } = one.record;
      const { owner: hers, fingerprint: its } = winner;
      expect({ owner, fingerprint, attempt, answer }).toEqual({
        owner: hers,
        fingerprint: its,
        attempt: 1,
        answer: undefined,
      });
    }
  });

  test('of two completions, a renewal and a release of one record in a batch one ends it', async () => {
    const records = grouped();
    const { id, owner } = await inProgress();
    const stranger = await inProgress();
    const told = await Promise.all([
      records.complete(id, owner, answerOf('first'), 600_000),
      records.complete(id, owner, answerOf('second'), 600_000),
      records.release(id, owner),
      records.complete(stranger.id, owner, answerOf('not hers'), 600_000),
      records.renew(stranger.id, stranger.owner, TIMES),
    ]);
    expect(told).toEqual([true, false, false, false, true]);
    const stored = (await records.read(id))?.answer;
    expect(stored && shown(stored)).toEqual(shown(answerOf('first')));
    expect(await records.read(stranger.id)).toMatchObject({ owner: stranger.owner, answer: undefined });
    expect(await records.release(stranger.id, stranger.owner)).toBe(true);
    expect(await records.read(stranger.id)).toBeUndefined();
  });

  test('of two completions of one record, and what comes with them, each is told of its own', async () => {
    const records = grouped();
    const [twice, other] = [await inProgress(), await inProgress()];
    const told = await Promise.all([
      records.complete(twice.id, twice.owner, answerOf('first'), 600_000),
      records.complete(twice.id, twice.owner, answerOf('second'), 600_000),
      records.complete(other.id, other.owner, answerOf('other'), 600_000),
    ]);
    expect(told).toEqual([true, false, true]);
    const stored = (await records.read(twice.id))?.answer;
    expect(stored && shown(stored)).toEqual(shown(answerOf('first')));
  });

  test('one claim that is made twice at the same time is had once', async () => {
    const records = grouped();
    const claim = claimOf(newId());
    const told = await Promise.all([records.claim(claim), records.claim(claim)]);
    expect(told.map(({ claimed }) => claimed).toSorted()).toEqual([false, true]);
  });

  test('a key with half of a character is refused: two that differ would be one', async () => {
    const records = grouped();
    const { scope } = newId();
    for (const key of ['k\ud800', 'k\ud801']) {
      await expect(records.claim(claimOf({ scope, key }))).rejects.toMatchObject({
        code: 'REJECTED',
        effect: 'none',
      });
    }
  });

  test('instances that claim the same keys at the same time share them out', async () => {
    const haveCome = barrier(3);
    const instances = Array.from({ length: 3 }, () => {
      const port = openPort();
      let sent = 0;
      const readThenWrite: SqlPort['readThenWrite'] = async (reads, decide) => {
        sent++;
        if (sent === 1) await haveCome();
        return port.readThenWrite?.(reads, decide) as never;
      };
      return groupedIdempotencyStore({ ...port, readThenWrite });
    });
    const ids = Array.from({ length: 40 }, newId);
    const told = await Promise.all(
      instances.map((records, index) =>
        // In another order each.
        Promise.all(
          (index === 1 ? ids.toReversed() : ids).map(async (id) => ({
            id,
            told: await records.claim(claimOf(id)),
          })),
        ),
      ),
    );
    const winners = told.flat().filter((one) => one.told.claimed);
    expect(winners).toHaveLength(ids.length);
    expect(new Set(winners.map(({ id }) => id.key)).size).toBe(ids.length);
  });

  test('fresh claims and their completions are a message each', async () => {
    const { records, messages } = counted();
    const claims = Array.from({ length: 10 }, () => claimOf(newId()));
    await Promise.all(claims.map((claim) => records.claim(claim)));
    await Promise.all(
      claims.map((claim, index) => records.complete(claim, claim.owner, answerOf(`${index}`), 600_000)),
    );
    expect(messages).toEqual(variant.on === 'mariadb' ? [2, 2, 1, 1] : [1, 1]);
  });

  test('of claims that come together each is told what he would have been told alone', async () => {
    const { records, messages } = counted();
    const [taken, stored] = [await inProgress(), await inProgress()];
    await sqlIdempotencyStore(sql).complete(stored.id, stored.owner, answerOf('stored'), 600_000);
    const ids = [newId(), taken.id, newId(), stored.id, newId()];
    const told = await Promise.all(ids.map((id) => records.claim(claimOf(id))));
    expect(told.map(({ claimed }) => claimed)).toEqual([true, false, true, false, true]);
    expect(told[1]).toMatchObject({ record: { owner: taken.owner, answer: undefined } });
    expect(told[3]).toMatchObject({ record: { owner: stored.owner, answer: { status: 200 } } });
    // Tried without a look, and again for those that are not there; the others are found before that, or after it.
    expect(messages).toEqual(variant.on === 'mariadb' ? [2, 2] : [1, 1, 1]);
  });

  test('of completions that come together each is told what became of his record', async () => {
    const records = grouped();
    const all = await Promise.all(Array.from({ length: 6 }, inProgress));
    const [first, completed, takenOver, expired, , last] = all as [Mine, Mine, Mine, Mine, Mine, Mine];
    expect(await records.complete(completed.id, completed.owner, answerOf('before'), 600_000)).toBe(true);
    const its = (id: IdempotencyRecordId) => [id.scope, id.key] as const;
    const successor = randomUUID();
    await store.query(`UPDATE ${TABLE} SET owner = ? ${ITS}`, successor, ...its(takenOver.id));
    await store.query(`UPDATE ${TABLE} SET expires_at = created_at ${ITS}`, ...its(expired.id));
    const complete = ({ id, owner }: Mine) => records.complete(id, owner, answerOf(id.key), 600_000);
    expect(await Promise.all(all.map(complete))).toEqual([true, false, false, false, true, true]);
    // Those of a batch that nothing speaks against, and one of them has none of these again.
    expect(await Promise.all([first, last].map(complete))).toEqual([false, false]);
    const answers = await Promise.all(all.map(async ({ id }) => (await records.read(id))?.answer?.body));
    expect(
      answers.map((body, index) => (body && Buffer.from(body).toString()) === all[index]?.id.key),
    ).toEqual([true, false, false, false, true, true]);
    expect(await records.read(takenOver.id)).toMatchObject({ owner: successor, answer: undefined });
  });

  test('a record that is gone is completed for nobody, and those that come with it are', async () => {
    const records = grouped();
    const all = await Promise.all(Array.from({ length: 4 }, inProgress));
    const gone = all[1] as Mine;
    expect(await sqlIdempotencyStore(sql).release(gone.id, gone.owner)).toBe(true);
    const told = all.map(({ id, owner }) => records.complete(id, owner, answerOf(id.key), 600_000));
    expect(await Promise.all(told)).toEqual([true, false, true, true]);
    for (const { id } of all.filter((one) => one !== gone)) {
      expect((await records.read(id))?.answer).toEqual(expect.objectContaining({ status: 200 }));
    }
    expect(await records.read(gone.id)).toBeUndefined();
  });

  test('of two completions of one record, and nothing else, one ends it', async () => {
    const records = grouped();
    const { id, owner } = await inProgress();
    const told = ['first', 'second'].map((text) => records.complete(id, owner, answerOf(text), 600_000));
    expect(await Promise.all(told)).toEqual([true, false]);
    const stored = (await records.read(id))?.answer;
    expect(stored && shown(stored)).toEqual(shown(answerOf('first')));
  });

  test.runIf(variant.forGroups)(
    'whoever cannot look at the record, one of those with him being gone, is told that he does not know',
    async () => {
      const proxy = await startProxy(
        store.url,
        () => 'answer-lost',
        (data) => data.includes('is_long'),
      );
      onTestFinished(() => proxy.close());
      const records = grouped({}, { port: proxy.port });
      const all = [await inProgress(), await inProgress()];
      const [one, gone] = all as [Mine, Mine];
      expect(await sqlIdempotencyStore(sql).release(gone.id, gone.owner)).toBe(true);
      const told = all.map(({ id, owner }) => records.complete(id, owner, answerOf('x'), 600_000));
      for (const each of await Promise.allSettled(told)) {
        expect(each).toMatchObject({ reason: { code: 'CONNECTION_LOST', effect: 'unknown' } });
      }
      expect((await sqlIdempotencyStore(sql).read(one.id))?.answer).toBeDefined();
    },
  );

  test('records of several scopes, with other owners each, are completed together', async () => {
    const records = grouped();
    const key = randomUUID();
    const claims = [
      claimOf({ scope: '["member 1","POST /é"]', key }),
      claimOf({ scope: '["member 2"]', key }),
      claimOf({ scope: '["member 2"]', key: `'"\\ é ${key}` }),
    ];
    await Promise.all(claims.map((claim) => records.claim(claim)));
    const completed = claims.map((claim) =>
      records.complete(claim, claim.owner, answerOf(claim.owner), 600_000),
    );
    expect(await Promise.all(completed)).toEqual([true, true, true]);
    for (const claim of claims) {
      const body = (await records.read(claim))?.answer?.body;
      expect(body && Buffer.from(body).toString()).toBe(claim.owner);
    }
  });

  test('of many who read at the same time each is told of his own record', async () => {
    const records = grouped();
    const claims = Array.from({ length: 8 }, () => claimOf(newId()));
    for (const claim of claims) await records.claim(claim);
    const seen = batches();
    const asked = claims.flatMap((claim) => [newId(), claim, claim]);
    const told = await Promise.all(asked.map((id) => records.read(id)));
    expect(seen.map(({ size }) => size)).toEqual([asked.length]);
    expect(told.map((record) => record?.owner)).toEqual(
      claims.flatMap(({ owner }) => [undefined, owner, owner]),
    );
  });

  test('an answer that does not fit into a statement as digits is stored as it would be alone', async () => {
    const records = grouped();
    const claim = claimOf(newId());
    await records.claim(claim);
    const body = Buffer.alloc(9 * 1_048_576, 'x');
    expect(await records.complete(claim, claim.owner, { ...answerOf(''), body }, 600_000)).toBe(true);
    const stored = (await records.read(claim))?.answer?.body;
    expect(stored && Buffer.compare(stored, body)).toBe(0);
  });

  test('a record that many ask for is read once for all of them', async () => {
    const port = openPort();
    let rows = 0;
    const counting: SqlPort = {
      ...port,
      readThenWrite: (reads, decide) =>
        (port.readThenWrite as NonNullable<SqlPort['readThenWrite']>)(reads, (read) => {
          const decided = decide(read);
          if ('next' in decided) return decided;
          return {
            writes: decided.writes,
            result(written) {
              for (const found of written) rows += found.rows.length;
              return decided.result(written);
            },
          };
        }),
    };
    const records = groupedIdempotencyStore(counting);
    const claim = claimOf(newId());
    await records.claim(claim);
    rows = 0;
    const told = await Promise.all(Array.from({ length: 20 }, () => records.read(claim)));
    expect(told.map((record) => record?.owner)).toEqual(told.map(() => claim.owner));
    expect(rows).toBe(1);
  });

  test('a claim that the database refuses is refused alone, and so is a completion', async () => {
    const records = grouped();
    const claims = Array.from({ length: 9 }, () => claimOf(newId()));
    const spoilt = claimOf(newId(), { owner: 'x'.repeat(40) });
    const refusals: unknown[] = [];
    const told = await Promise.all(
      [...claims.slice(0, 4), spoilt, ...claims.slice(4)].map((claim) =>
        records.claim(claim).catch((error: unknown) => refusals.push(error)),
      ),
    );
    expect(refusals).toEqual([expect.objectContaining({ code: 'REJECTED', effect: 'none' })]);
    expect(told.filter((one) => typeof one === 'object')).toEqual(
      claims.map(() => ({ claimed: true, attempt: 1 })),
    );

    const completions = claims.map((claim, index) =>
      records
        .complete(claim, claim.owner, { ...answerOf('x'), ...(index === 4 && { status: 3e9 }) }, 600_000)
        .catch((error: unknown) => error),
    );
    expect(await Promise.all(completions)).toEqual(
      claims.map((_, index) =>
        index === 4 ? expect.objectContaining({ code: 'REJECTED', effect: 'none' }) : true,
      ),
    );
  });

  test('a record that somebody is completing holds up its own changes, and nobody else’s', async () => {
    const records = grouped();
    const [stuck, free] = [await inProgress(), await inProgress()];
    const holder = await held(stuck.id);
    const late = records.renew(stuck.id, stuck.owner, TIMES);
    expect(await records.complete(free.id, free.owner, answerOf('free'), 600_000)).toBe(true);
    await until(async () => (await store.waitingForLocks()) === 1);
    expect(await records.renew(free.id, free.owner, TIMES)).toBe(false);
    // Who asks for the key is told without waiting.
    expect(await records.claim(claimOf(stuck.id))).toMatchObject({
      claimed: false,
      record: { owner: stuck.owner, answer: undefined },
    });
    await holder.query(
      `UPDATE ${TABLE} SET status = 200, headers = '{}', body = '' ${ITS}`,
      stuck.id.scope,
      stuck.id.key,
    );
    await holder.query('COMMIT');
    expect(await late).toBe(false);
  });

  test('a record whose holder rolls back is renewed then', async () => {
    const records = grouped();
    const { id, owner } = await inProgress();
    const holder = await held(id);
    const late = records.renew(id, owner, TIMES);
    await until(async () => (await store.waitingForLocks()) === 1);
    await holder.query('ROLLBACK');
    expect(await late).toBe(true);
  });

  test('whoever waits too long is told so, and nothing has changed', async () => {
    const records = grouped({ lockWaitMs: 1_000 });
    const { id, owner } = await inProgress();
    const holder = await held(id);
    const late = records.complete(id, owner, answerOf('late'), 600_000);
    await expect(late).rejects.toMatchObject({ code: 'LOCK_TIMEOUT', effect: 'none' });
    await holder.query('ROLLBACK');
    expect(await records.read(id)).toMatchObject({ owner, answer: undefined });
  });

  test.each(['COMMIT', 'ROLLBACK'] as const)(
    'a key that somebody is inserting holds up its own claims, and nobody else’s: %s',
    async (end) => {
      const records = grouped();
      const ids = Array.from({ length: 5 }, newId);
      const other = await inserting(ids[2] as IdempotencyRecordId);
      const claims = ids.map((id) => records.claim(claimOf(id)));
      const [first, second, stuck, ...rest] = claims;
      for (const one of await Promise.all([first, second, ...rest])) {
        expect(one).toEqual({ claimed: true, attempt: 1 });
      }
      await until(async () => (await store.waitingForLocks()) >= 1);
      await other.query(end);
      expect(await stuck).toMatchObject({ claimed: end === 'ROLLBACK' });
    },
  );

  test('a replay waits for no lock, and looks first where many are replays', async () => {
    const records = grouped();
    const { id, owner } = await inProgress();
    await records.complete(id, owner, answerOf('stored'), 600_000);
    await held(id);
    const seen = batches();
    const replay = async () => {
      seen.length = 0;
      const found = await records.claim(claimOf(id));
      if (found.claimed || found.record.answer === undefined) throw new Error('not replayed');
      expect(shown(found.record.answer)).toEqual(shown(answerOf('stored')));
      return seen.map(({ group }) => group);
    };
    expect((await replay())[0]).toBe('idempotency-key claim');
    for (let replays = 0; replays < 20; replays++) await replay();
    expect(await replay()).toEqual(['idempotency-key look']);
    await together(40, () => records.claim(claimOf(newId())));
    expect((await replay())[0]).toBe('idempotency-key claim');
  });

  test('an answer that is too long to be read for many is given as it is', async () => {
    const records = grouped();
    const { id, owner } = await inProgress();
    const long = { ...answerOf(''), body: Buffer.alloc(16_385, 'é') };
    expect(await records.complete(id, owner, long, 600_000)).toBe(true);
    const [found, read] = [await records.claim(claimOf(id)), await records.read(id)];
    if (found.claimed || found.record.answer === undefined) throw new Error('not replayed');
    expect(Buffer.compare(found.record.answer.body, long.body)).toBe(0);
    expect(read?.answer && Buffer.compare(read.answer.body, long.body)).toBe(0);
  });

  test('the answer to a claim is lost: its effect is unknown to each, and nobody is told that it is another’s', async () => {
    for (const fate of ['answer-lost', 'request-lost'] satisfies CommitFate[]) {
      const proxy = await startProxy(
        store.url,
        () => fate,
        (data) => data.includes('INSERT INTO'),
      );
      onTestFinished(() => proxy.close());
      const records = grouped({}, { port: proxy.port });
      const claims = Array.from({ length: 3 }, () => claimOf(newId()));
      const told = await Promise.allSettled(claims.map((claim) => records.claim(claim)));
      for (const one of told) {
        expect(one).toMatchObject({ reason: { code: 'CONNECTION_LOST', effect: 'unknown' } });
      }
      const alone = sqlIdempotencyStore(sql);
      for (const claim of claims) {
        const isThere = async () => (await alone.read(claim))?.owner === claim.owner;
        if (fate === 'answer-lost') await until(isThere);
        else expect(await isThere()).toBe(false);
      }
    }
  });

  test('a look whose answer is lost has no effect', async () => {
    const proxy = await startProxy(
      store.url,
      () => 'answer-lost',
      (data) => data.includes('is_long'),
    );
    onTestFinished(() => proxy.close());
    const lost = grouped({}, { port: proxy.port }).read(newId());
    await expect(lost).rejects.toMatchObject({ code: 'CONNECTION_LOST', effect: 'none' });
  });

  test('a completion whose answer is lost is known when it is tried again', async () => {
    const proxy = await startProxy(
      store.url,
      (sent) => (sent === 1 ? 'answer-lost' : 'passes'),
      (data) => /UPDATE ["`]pawl/.test(data.toString('latin1')),
    );
    onTestFinished(() => proxy.close());
    const records = grouped({}, { port: proxy.port });
    const request = newRequest({ key: randomUUID() });
    let runs = 0;
    const outcome = await idempotencyKeys(records).run(request, async () => {
      runs++;
      return done(answer('bill'));
    });
    expect(outcome).toEqual(done(answer('bill')));
    expect(runs).toBe(1);
    const replay = await idempotencyKeys(records).run(request, () => Promise.reject(new Error('ran')));
    expect(replay).toMatchObject({ outcome: 'done', replayed: true });
  });

  test('too many that wait are refused, and nothing was done for them', async () => {
    const records = grouped({ maxWaiting: 5 });
    const claims = Array.from({ length: 8 }, () => claimOf(newId()));
    const told = await Promise.allSettled(claims.map((claim) => records.claim(claim)));
    const refusals = told.filter((one) => one.status === 'rejected');
    expect(refusals).toHaveLength(3);
    for (const { reason } of refusals) expect(reason).toMatchObject({ code: 'UNAVAILABLE', effect: 'none' });
    const there = await Promise.all(claims.map((claim) => records.read(claim).catch(() => undefined)));
    expect(there.filter((record) => record !== undefined).length).toBeLessThanOrEqual(5);
  });

  test('switched off, each has a transaction of its own, and the records are the same', async () => {
    const [on, off] = [grouped(), grouped({ together: false })];
    const seen = batches();
    const claims = Array.from({ length: 3 }, () => claimOf(newId()));
    for (const claim of claims) expect(await off.claim(claim)).toEqual({ claimed: true, attempt: 1 });
    expect(await Promise.all(claims.map((claim) => off.renew(claim, claim.owner, TIMES)))).toEqual([
      true,
      true,
      true,
    ]);
    expect(seen).toEqual([]);
    for (const claim of claims) {
      expect(await on.claim(claimOf(claim))).toMatchObject({
        claimed: false,
        record: { owner: claim.owner },
      });
      expect(await on.complete(claim, claim.owner, answerOf('on'), 600_000)).toBe(true);
      expect(await off.complete(claim, claim.owner, answerOf('off'), 600_000)).toBe(false);
    }
  });

  test('an answer that is stored in the caller’s transaction is replayed, and one that rolls back is not', async () => {
    const records = grouped();
    const keys = idempotencyKeys(records);
    const request = newRequest({ key: randomUUID() });
    const work = (fails: boolean) =>
      keys.run(request, (lease) =>
        transact(sql, async (transaction) => {
          const stored = await lease.completeIn(transaction, answer('bill'));
          if (fails) throw new Error('a bug');
          return stored;
        }),
      );
    await expect(work(true)).rejects.toThrow('a bug');
    expect(await work(false)).toMatchObject({ outcome: 'refused', reason: 'in-progress' });
    const id = { scope: JSON.stringify(request.scope), key: request.key };
    const hour =
      store.kind === 'postgres'
        ? `clock_timestamp() - interval '1 hour'`
        : 'UTC_TIMESTAMP(6) - INTERVAL 1 HOUR';
    await store.query(`UPDATE ${TABLE} SET lease_until = ${hour} ${ITS}`, id.scope, id.key);
    expect(await work(false)).toEqual(done(answer('bill')));
    expect(await work(true)).toMatchObject({ outcome: 'done', replayed: true });
  });

  test('claims in the other mode are not of the group', async () => {
    const seen = batches();
    const told = await transact(sql, async (transaction) =>
      done(
        await grouped()
          .within(transaction)
          .claim(claimOf(newId(), { mode: 'transactional' })),
      ),
    );
    expect(told).toEqual(done({ claimed: true, attempt: 1 }));
    expect(await settledSoon(grouped().claim(claimOf(newId(), { mode: 'transactional' })))).toBe(true);
    expect(seen).toEqual([]);
  });
});
