import { done, refused, stock } from 'pawl';
import { onDatabase, race } from './stage.ts';

const tables = {
  coupon: 'id integer PRIMARY KEY, remaining integer NOT NULL',
  issued: 'coupon integer, member integer, number integer, PRIMARY KEY (coupon, member)',
};

await onDatabase(tables, async (sql) => {
  await sql.execute({ text: 'INSERT INTO coupon VALUES (1, 3)', values: [] });
  const coupons = stock(
    sql,
    {
      rows: { table: 'coupon', key: 'id', columns: ['remaining'] },
      claims: { table: 'issued', stock: 'coupon', claimant: 'member', columns: ['number'] },
      take({ row, claimed }) {
        if (claimed) return refused('already-issued');
        const remaining = Number(row.remaining);
        if (remaining < 1) return refused('sold-out');
        return done({ set: { remaining: remaining - 1 }, claim: { number: remaining }, value: remaining });
      },
      // Of a COMMIT whose answer was lost: what the member's claim, or that he has none, says of it.
      recall: (claim) => (claim === undefined ? refused('contended') : done(Number(claim.number))),
    },
    { name: 'coupons' },
  );
  // Twenty members, three times each.
  console.log(await race(60, (caller) => coupons.take({ stock: 1, claimant: caller % 20 })));
  const { rows } = await sql.execute({ text: 'SELECT member FROM issued ORDER BY member', values: [] });
  console.log(`members with a coupon: ${rows.map(({ member }) => member).join(', ')}`);
});
