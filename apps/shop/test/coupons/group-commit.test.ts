import { beforeAll, describe, expect, test } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { twoStores } from '../../../../test/stores.ts';
import { type Reply, type Shops, startShops, untilFileEnds } from '../harness.ts';
import { startOwnProcess } from '../own-process.ts';
import { ask, newCoupon, stockOf, tally } from './coupons.ts';

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
const strategy = 'group-commit';

describe.each(twoStores)('on %s', (store) => {
  const ends = untilFileEnds();
  let shops: Shops;
  beforeAll(async () => {
    shops = await startShops({ store, instances: 4, ends });
  });

  /** What was written down of a coupon, in the order of the serial numbers. */
  async function bookOf(id: string) {
    const issued = await shops.sql(
      'SELECT member_id, claimed_by, serial, request_id FROM issued_coupon WHERE coupon_id = ? ORDER BY serial',
      [id],
    );
    const [row] = await shops.sql('SELECT version, quota_used FROM coupon WHERE id = ?', [id]);
    return {
      ...(await stockOf(shops, id)),
      version: Number(row?.version),
      issued: issued.map((row) => ({
        member: Number(row.member_id),
        claimedBy: Number(row.claimed_by),
        serial: Number(row.serial),
        request: String(row.request_id),
      })),
    };
  }

  describe('200 members at once on four instances, 50 coupons', () => {
    const rush = (id: string, by: string) =>
      together(200, (index) => ask(shops, id, { member: index + 1, strategy: by, instance: index % 4 }));

    test('without a guard more are handed out than there are', async () => {
      const id = await newCoupon(shops, { numberOfCoupons: 50 });
      await rush(id, 'none');
      expect((await stockOf(shops, id)).members.length).toBeGreaterThan(50);
    });

    test('with group commit exactly those, each with a number of its own', async () => {
      const id = await newCoupon(shops, { numberOfCoupons: 50 });
      const replies = await rush(id, strategy);
      expect(tally(replies)).toEqual({ ok: 50, '400 sold-out': 150 });
      const { remaining, version, quotaUsed, issued } = await bookOf(id);
      expect({ remaining, version, quotaUsed }).toEqual({ remaining: 0, version: 50, quotaUsed: 50 });
      expect(issued.map(({ serial }) => serial)).toEqual(numbers(50));
      expect(new Set(issued.map(({ claimedBy }) => claimedBy)).size).toBe(50);
    });
  });

  test('beside optimistic-retry: whoever saw the stock before a shared commit does not write over it', async () => {
    const id = await newCoupon(shops);
    const holder = await shops.hold(`SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
    const first = ask(shops, id, { member: 1, strategy });
    await until(async () => (await shops.waitingForLocks()) === 1);
    // It reads without a lock, and comes to the row behind the first.
    const second = ask(shops, id, { member: 2, strategy: 'optimistic-retry', instance: 1 });
    await until(async () => (await shops.waitingForLocks()) === 2);
    await holder.query('COMMIT');
    holder.release();
    expect(tally(await Promise.all([first, second]))).toEqual({ ok: 2 });
    expect((await second).headers.get('x-retries')).toBe('1');
    expect(await bookOf(id)).toMatchObject({ remaining: 3, version: 2, serials: [1, 2], members: [1, 2] });
  });

  test('coupons that somebody else has locked, more of them than are waited for at once, hold up nobody but their own', async () => {
    const held = await Promise.all(numbers(6).map(() => newCoupon(shops)));
    const free = [
      await newCoupon(shops, { numberOfCoupons: 100 }),
      await newCoupon(shops, { numberOfCoupons: 100 }),
    ];
    const [first, ...others] = held.map((id) => `SELECT * FROM coupon WHERE id = '${id}' FOR UPDATE`);
    const holder = await shops.hold(String(first));
    // One by one: of several in one statement MariaDB would lock the whole of a small table.
    for (const other of others) await holder.query(other);
    let answered = 0;
    const waiting = held.flatMap((id, index) =>
      [1, 2, 3].map((member) =>
        ask(shops, id, { member: 100 * (index + 1) + member, strategy }).finally(() => {
          answered++;
        }),
      ),
    );
    await until(async () => (await shops.waitingForLocks()) === 4);

    // Of the same instance, one rush after the other; each has its transactions while the others wait.
    for (const rush of numbers(3)) {
      const replies = await together(20, (index) =>
        ask(shops, String(free[index % 2]), { member: 1_000 * rush + index, strategy }),
      );
      expect(tally(replies)).toEqual({ ok: 20 });
    }
    expect(answered).toBe(0);

    await holder.query('COMMIT');
    holder.release();
    expect(tally(await Promise.all(waiting))).toEqual({ ok: 18 });
    for (const id of held) expect((await bookOf(id)).issued).toHaveLength(3);
    for (const id of free) expect((await stockOf(shops, id)).remaining).toBe(70);
  });

  describe('an instance is killed with 500 callers in flight', () => {
    const BEFORE = 50;
    const IN_FLIGHT = 500;

    /**
     * Fifty are answered, then five hundred more ask an instance of its own, which stands still after `step` of one of them and is
     * killed then.
     */
    async function killed(stopAt: 'read' | 'committed') {
      const dying = await startOwnProcess({ DATABASE_URL: shops.databaseUrl });
      const instance = shops.join(dying.url);
      const id = await newCoupon(shops, { numberOfCoupons: 1_000 });
      const requestOf = (member: number) => `${id.slice(0, 8)}-${member}`;
      const request = (member: number, headers: Record<string, string> = {}) =>
        shops.call(
          'POST',
          `/api/coupon/${id}`,
          undefined,
          { 'x-member-id': String(member), 'x-request-id': requestOf(member), ...headers },
          instance,
        );
      const answers = new Map<number, Reply>();
      const answered = async (member: number, headers?: Record<string, string>) => {
        const reply = await request(member, headers);
        answers.set(member, reply);
        return reply;
      };
      await Promise.all(numbers(BEFORE).map((member) => answered(member)));
      const stopper = BEFORE + IN_FLIGHT / 2;
      const asking = numbers(IN_FLIGHT).map((number) =>
        answered(BEFORE + number, BEFORE + number === stopper ? { 'x-lab-stop-at': stopAt } : {}),
      );
      const over = Promise.allSettled(asking);
      await dying.stopped(asking[IN_FLIGHT / 2 - 1] as Promise<Reply>);
      await dying.kill();
      await over;
      return { id, requestOf, answers, stopper };
    }

    test.each(['read', 'committed'] as const)(
      'after it has %s: no acknowledged issue is lost, and none is invented',
      async (stopAt) => {
        const { id, requestOf, answers, stopper } = await killed(stopAt);
        // Whoever has the row's lock sees what came of the transaction that died.
        expect((await ask(shops, id, { member: 9_999, strategy })).status).toBe(200);

        const { remaining, version, issued } = await bookOf(id);
        expect(remaining + issued.length).toBe(1_000);
        expect(version).toBe(issued.length);
        expect(issued.map(({ serial }) => serial)).toEqual(numbers(issued.length));
        const rows = new Map(issued.map((row) => [row.member, row]));
        expect(rows.size).toBe(issued.length);
        rows.delete(9_999);
        for (const { member, claimedBy, request } of rows.values()) {
          expect({ claimedBy, request }).toEqual({ claimedBy: member, request: requestOf(member) });
        }
        expect(answers.size).toBeGreaterThanOrEqual(BEFORE);
        expect(answers.size).toBeLessThan(BEFORE + IN_FLIGHT);
        for (const [member, reply] of answers) {
          expect(reply.status).toBe(200);
          expect(rows.get(member)?.serial).toBe(reply.body.data.serialNumber);
        }
        // It was killed where it matters.
        expect(rows.has(stopper)).toBe(stopAt === 'committed');
        if (stopAt === 'committed') expect(rows.size).toBeGreaterThan(answers.size);

        // Whoever was not answered asks again, and has one in the end, and not two.
        const unanswered = numbers(IN_FLIGHT + BEFORE).filter((member) => !answers.has(member));
        const again = await Promise.all(unanswered.map((member) => ask(shops, id, { member, strategy })));
        const had = unanswered.filter((member) => rows.has(member)).length;
        expect(tally(again)).toEqual({
          ...(had > 0 && { '400 already-issued': had }),
          ...(had < unanswered.length && { ok: unanswered.length - had }),
        });
        expect((await stockOf(shops, id)).remaining).toBe(1_000 - IN_FLIGHT - BEFORE - 1);
      },
      60_000,
    );
  });
});
