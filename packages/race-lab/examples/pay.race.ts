import { defineRace } from 'race-lab';

const service = process.env.SERVICE_URL ?? 'http://127.0.0.1:3000';
const database = process.env.DATABASE_URL;

/** Every round has an order of its own, which twenty requests pay at once. */
export default defineRace({
  async prepare() {
    const response = await fetch(`${service}/orders`, { method: 'POST' });
    const { id } = (await response.json()) as { id: number };
    return { id };
  },
  request: ({ id }) => ({ method: 'POST', url: `${service}/orders/${id}/pay` }),
  fanout: 20,
  expect: { successes: 1 },
  check: database
    ? {
        url: database,
        sql: ({ id }) => `SELECT count(*) FROM example_charges WHERE order_id = ${id}`,
        expect: 1,
      }
    : undefined,
});
