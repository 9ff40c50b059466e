import { beforeAll, describe, expect, test } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { type CommitFate, startProxy } from '../../../../test/proxy.ts';
import type { CouponStrategyName } from '../../src/coupons/issue/index.ts';
import { type Commits, refusableCommits } from '../commits.ts';
import { type Reply, type Shops, startShops, untilFileEnds } from '../harness.ts';
import { ask, newCoupon, stockOf, tally } from './coupons.ts';

/** What is not published as wrong, or as uncertain. */
const right: CouponStrategyName[] = [
  'conditional-update',
  'pessimistic',
  'pessimistic-force-increment',
  'optimistic-retry',
  'redis-counter',
  'group-commit',
];

/** By which strategy, and on which instance. */
interface Way {
  readonly name: string;
  readonly strategy: CouponStrategyName;
  readonly instance: number;
}
const ways: Way[] = [
  ...right.map((strategy) => ({ name: strategy, strategy, instance: 0 })),
  // Where nobody shares a transaction with anybody.
  { name: 'group-commit, each alone', strategy: 'group-commit', instance: 1 },
];

/** Reservations whose outcome nobody knows are soon resolved here. */
const env = { COUPON_RESERVATION_MS: '100', COUPON_RECONCILE_MS: '50' };
/** Nobody here commits but who asks: neither who resolves reservations, nor who recovers purchases. */
const quiet = { ...env, COUPON_RECONCILE_MS: '3600000', RECOVERY_EVERY_MS: '3600000' };

/** Asks until it is known what became of what he asked before. */
async function askUntilKnown(shops: Shops, id: string, way: Way): Promise<Reply> {
  let reply = await ask(shops, id, { member: 1, ...way });
  await until(async () => {
    if (reply.body.code !== 'in-progress') return true;
    reply = await ask(shops, id, { member: 1, ...way });
    return false;
  });
  return reply;
}

/** Nothing was taken, and whoever asks again gets it. */
async function expectUntouched(shops: Shops, id: string, way: Way) {
  expect(await stockOf(shops, id)).toEqual({ remaining: 5, quotaUsed: 0, members: [], serials: [] });
  expect((await askUntilKnown(shops, id, way)).body.data).toMatchObject({ serialNumber: 1 });
  expect(await stockOf(shops, id)).toMatchObject({ remaining: 4, members: [1] });
}

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  const ends = untilFileEnds();
  /** Each test has a coupon of its own. */
  let shops: Shops;
  /** On the same database, where nobody waits for a lock for long. */
  let impatient: Shops;
  /** On the same database, by a proxy that does to the next COMMIT what it is told. */
  let behind: Shops;
  let fateNow: CommitFate = 'passes';
  /** On a database that refuses COMMITs. */
  let refused: Shops;
  let commits: Commits;
  beforeAll(async () => {
    shops = await startShops({ store, env, ends });
    const { databaseUrl } = shops;
    // One resolves reservations for all of them: or there would be more who might wait for a lock.
    impatient = await startShops({ databaseUrl, env: { ...quiet, LOCK_WAIT_MS: '100' }, ends });
    const proxy = await startProxy(databaseUrl, () => {
      const fate = fateNow;
      fateNow = 'passes';
      return fate;
    });
    ends(() => proxy.close());
    const port = String(proxy.port);
    const url = Object.assign(new URL(databaseUrl), { port }).href;
    behind = await startShops({ databaseUrl: url, env: quiet, ends });
    commits = await refusableCommits(store, 'issued_coupon', ends);
    refused = await startShops({
      databaseUrl: commits.databaseUrl,
      env: { ...env, LOCK_WAIT_MS: '100' },
      ends,
    });
    for (const all of [shops, impatient, behind, refused]) {
      const patience = all === shops || all === behind ? {} : { LOCK_WAIT_MS: '100' };
      const alone = { ...quiet, ...patience, GROUP_COMMIT: '0' };
      const { urls } = await startShops({ databaseUrl: all.databaseUrl, env: alone, ends });
      all.join(String(urls[0]));
    }
  });

  describe.each(ways)('$name', (way) => {
    test('a lock that is not granted in time is a refusal, and burns nothing', async () => {
      const id = await newCoupon(impatient);
      const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);

      const reply = await ask(impatient, id, { member: 1, ...way });

      expect(reply.body).toMatchObject({ status: 400, code: 'lock-timeout' });
      await holder.query('ROLLBACK');
      holder.release();
      await expectUntouched(impatient, id, way);
    });

    test('a connection that is killed in the middle leaves nothing', async () => {
      const id = await newCoupon(shops);
      const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
      const asking = ask(shops, id, { member: 1, ...way });
      await until(async () => (await shops.waitingForLocks()) === 1);

      await shops.killWaiting();

      expect((await asking).body).toMatchObject({ status: 503, code: 'store-unavailable' });
      await holder.query('ROLLBACK');
      holder.release();
      await expectUntouched(shops, id, way);
    });

    test('a COMMIT that is refused leaves nothing', async () => {
      const id = await newCoupon(refused);
      await commits.refuse();

      const reply = await ask(refused, id, { member: 1, ...way });

      await commits.allow();
      // MariaDB waits for the commit lock, and tells of it as of any other.
      expect([400, 503]).toContain(reply.status);
      expect(['lock-timeout', 'store-unavailable']).toContain(reply.body.code);
      await expectUntouched(refused, id, way);
    });

    test.each([
      ['carried out, and its answer lost', 'answer-lost'],
      ['lost on its way', 'request-lost'],
    ] as const)(
      'a COMMIT that is %s: nobody is told what is not so, and in the end there is one for the member, and none lost',
      async (_what, fate) => {
        const id = await newCoupon(behind, { numberOfCoupons: 2 });
        fateNow = fate;

        const lost = await ask(behind, id, { member: 1, ...way });

        if (way.strategy === 'group-commit' && fate === 'answer-lost') {
          // It has been looked for.
          expect(lost.body.data).toMatchObject({ id, serialNumber: 1, remaining: 1, numberOfCoupons: 2 });
        } else {
          expect(lost.body).toMatchObject({ status: 503, code: 'store-unavailable' });
          const known = way.strategy === 'group-commit';
          expect(lost.body.message).toContain(
            known ? 'nothing came of this request' : 'Look whether it took effect',
          );
        }
        const again = await askUntilKnown(behind, id, way);
        expect(tally([again])).toEqual(fate === 'answer-lost' ? { '400 already-issued': 1 } : { ok: 1 });
        expect((await ask(behind, id, { member: 2, ...way })).body.data).toMatchObject({ serialNumber: 2 });
        expect(await stockOf(behind, id)).toMatchObject({ remaining: 0, members: [1, 2], serials: [1, 2] });
      },
    );
  });

  test('group-commit: where what became of a COMMIT cannot be read either, it is told that nobody knows', async () => {
    const id = await newCoupon(shops);
    // The message that writes and commits; whatever else commits, passes.
    const writes = (data: Buffer) => /insert into .issued_coupon/i.test(data.toString('latin1'));
    const proxy = await startProxy(
      shops.databaseUrl,
      () => {
        // And nobody connects any more.
        void proxy.close();
        return 'request-lost';
      },
      writes,
    );
    const { href } = Object.assign(new URL(shops.databaseUrl), { port: String(proxy.port) });
    const cutOff = await startShops({ databaseUrl: href, env: quiet });

    const { body } = await ask(cutOff, id, { member: 1 });

    expect(body).toMatchObject({ status: 503, code: 'store-unavailable' });
    expect(body.message).toContain('Look whether it took effect');
    const { members, serials } = await stockOf(shops, id);
    expect({ members, serials }).toEqual({ members: [], serials: [] });
  });

  test('pessimistic-shared: those who share the row and all want it are a deadlock; it is tried again and nothing is wrong', async () => {
    const shops = await startShops({ store, instances: 2 });
    const id = await newCoupon(shops);
    // Nobody gets to the update before all share the row.
    const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
    const asking = together(3, (index) =>
      ask(shops, id, { member: index + 1, strategy: 'pessimistic-shared', instance: index % 2 }),
    );
    await until(async () => (await shops.waitingForLocks()) === 3);
    await holder.query('ROLLBACK');
    holder.release();
    const replies = await asking;
    const retries = replies.map(({ headers }) => Number(headers.get('x-retries')));
    expect(Math.max(...retries)).toBeGreaterThan(0);
    const granted = replies.filter(({ status }) => status === 200).length;
    expect(granted).toBeGreaterThan(0);
    const stock = await stockOf(shops, id);
    expect(stock.remaining).toBe(5 - granted);
    expect(stock.serials.toSorted()).toEqual([1, 2, 3].slice(0, granted));
  });
});
