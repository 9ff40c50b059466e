import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { openAllDay } from '../../../../packages/race-lab/src/experiments/coupon-opening.ts';
import type { Step } from '../../src/trace.ts';
import type { Reply, Shops } from '../harness.ts';

/** A coupon that is open now and for a long time, for everybody, unless told otherwise. */
export function couponBody(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    couponName: `coupon ${randomUUID()}`,
    couponCode: 'WELCOME',
    downloadStartDate: '20200101',
    downloadEndDate: '20991231',
    availableStartDate: '20200101',
    availableEndDate: '20991231',
    discountType: 'PERCENT',
    cost: 10,
    numberOfCoupons: 5,
    couponType: 'ALL',
    ...changes,
  };
}

/** Creates a coupon whose day does not end while a test runs, unless told otherwise. @returns its id */
export async function newCoupon(shops: Shops, changes: Record<string, unknown> = {}): Promise<string> {
  const { timeZone } = openAllDay(Date.now());
  const reply = await shops.call('POST', '/api/coupon', couponBody({ timeZone, ...changes }));
  if (reply.status !== 200) throw new Error(`no coupon: ${reply.text}`);
  return String(reply.body.data.id);
}

export function ask(
  shops: Shops,
  couponId: string,
  request: { member: number; strategy?: string; instance?: number; stopAt?: Step },
): Promise<Reply> {
  const { member, strategy, instance, stopAt } = request;
  const headers = {
    'x-member-id': String(member),
    ...(strategy === undefined ? {} : { 'x-coupon-strategy': strategy }),
    ...(stopAt === undefined ? {} : { 'x-lab-stop-at': stopAt }),
  };
  return shops.call('POST', `/api/coupon/${couponId}`, undefined, headers, instance);
}

/** How often each was answered: `ok`, or the code of the refusal. */
export function tally(replies: readonly Reply[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { status, body } of replies) {
    const key = status === 200 ? 'ok' : `${status} ${body.code}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** What the database says: what is left, and who has which number. */
export async function stockOf(shops: Shops, couponId: string) {
  const [coupon] = await shops.sql('SELECT remaining, quota_used FROM coupon WHERE id = ?', [couponId]);
  const issued = await shops.sql(
    'SELECT member_id, serial FROM issued_coupon WHERE coupon_id = ? ORDER BY id',
    [couponId],
  );
  return {
    remaining: Number(coupon?.remaining),
    quotaUsed: Number(coupon?.quota_used),
    members: issued.map((row) => Number(row.member_id)),
    serials: issued.map((row) => Number(row.serial)),
  };
}

/** Everything that its database holds, table by table. */
export async function snapshot(shops: Shops): Promise<Record<string, unknown>> {
  // A database of PostgreSQL has its tables in the schema `public`; on MySQL it is the schema itself.
  const names = await shops.sql(
    `SELECT table_name AS name FROM information_schema.tables WHERE table_schema IN ('public', ?) ORDER BY 1`,
    [new URL(shops.databaseUrl).pathname.slice(1)],
  );
  const tables = names.map(({ name }) => String(name));
  const rows = await Promise.all(tables.map((table) => shops.sql(`SELECT * FROM ${table} ORDER BY 1`)));
  return Object.fromEntries(tables.map((table, index) => [table, rows[index]]));
}

/** What every refusal and failure looks like, and nothing besides. */
export function refusal(status: number, code: string) {
  return { success: false, status, message: expect.any(String), code, data: null };
}
