import {
  conditionalUpdate,
  type DurableCallDefinition,
  done,
  durableCalls,
  migrate,
  type SqlTransaction,
  sqlDurableCallStore,
} from 'pawl';
import { onDatabase, race } from './stage.ts';

type Label = { readonly label: string };

/** The carrier: one label for each token, however often it is asked. Its first answer gets lost on the way. */
const labels = new Map<string, 'valid' | 'void'>();
let losesAnswer = true;

/** Moves a parcel on from one state, and no other. */
const move = (transaction: SqlTransaction, id: string, status: string, to: string, more = {}) =>
  conditionalUpdate(transaction, {
    table: 'example_parcel',
    key: { id },
    expect: { status },
    set: { status: to },
    ...more,
  });
const giveBack = (transaction: SqlTransaction, { subject }: { subject: string }) =>
  move(transaction, subject, 'ORDERING', 'WAITING', { increment: 'attempt' });
const answer = (status: number, text: string) => ({ status, body: Buffer.from(text) });

const labelOrder: DurableCallDefinition<SqlTransaction, null, Label> = {
  name: 'label',
  repeat: 'idempotent',
  async send({ token }) {
    labels.set(token, 'valid');
    if (losesAnswer) return { outcome: 'unknown', code: 'TIMEOUT' };
    return { outcome: 'done', value: { label: token } };
  },
  async lookUp({ token }) {
    return labels.has(token) ? { outcome: 'done', value: { label: token } } : { outcome: 'not-found' };
  },
  async settle(transaction, { subject }, { label }) {
    const settled = await move(transaction, subject, 'ORDERING', 'LABELED');
    return settled.outcome === 'done' ? done(answer(201, label)) : settled; // Refused: it is compensated.
  },
  async release(transaction, call, why) {
    await giveBack(transaction, call);
    return answer(402, why.reason);
  },
  async forget(transaction, call) {
    await giveBack(transaction, call);
  },
  compensation: {
    name: 'void',
    async send({ value }) {
      labels.set(value.label, 'void');
      return { outcome: 'done' };
    },
    async lookUp({ value }) {
      return { outcome: labels.get(value.label) === 'void' ? 'done' : 'standing' };
    },
    began: (transaction, { subject }) => move(transaction, subject, 'WITHDRAWN', 'VOIDING'),
    async ended(transaction, { subject }) {
      await move(transaction, subject, 'VOIDING', 'VOID');
      return answer(410, 'void');
    },
  },
};

const columns = 'id varchar(36) PRIMARY KEY, status varchar(10), attempt integer';
await onDatabase({ example_parcel: columns }, async (sql) => {
  await migrate(sql);
  const parcel = crypto.randomUUID();
  await sql.execute({ text: `INSERT INTO example_parcel VALUES ('${parcel}', 'WAITING', 1)`, values: [] });
  const calls = durableCalls(sqlDurableCallStore(sql), labelOrder);

  /** Each tap has a key of its own; the parcel's row lets one of them through. */
  const order = (tap: number) => {
    const request = { scope: ['shop 1', 'POST /labels'], key: `${parcel} ${tap}`, payload: '' };
    return calls.run(request, async (transaction) => {
      const claimed = await move(transaction, parcel, 'WAITING', 'ORDERING');
      if (claimed.outcome !== 'done') return claimed;
      const text = `SELECT attempt FROM example_parcel WHERE id = '${parcel}'`;
      const { rows } = await transaction.execute({ text, values: [] });
      return done({ subject: parcel, attempt: Number(rows[0]?.attempt), request: null });
    });
  };
  const takeBack = () =>
    calls.compensate({ subject: parcel, attempt: 1 }, async (transaction) => {
      const taken = await move(transaction, parcel, 'LABELED', 'VOIDING');
      return taken.outcome === 'done' ? done({ value: { label: `${parcel}:1` } }) : taken;
    });

  console.log(`ordered: ${await race(50, order)}`);
  losesAnswer = false;
  console.log(`recovered: ${await calls.recover()}`); // In a service: calls.start(), on every instance.
  console.log(`ordered again: ${await race(50, order)}`);
  console.log(`taken back: ${await race(50, takeBack)}`);
  console.log(`labels: ${[...labels.values()]}`);
});
