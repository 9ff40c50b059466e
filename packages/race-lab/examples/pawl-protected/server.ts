import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import { conditionalUpdate } from 'pawl';
import { pgPort } from 'pawl/pg';
import pg from 'pg';

// Of all who ask, one moves the order from WAITING to PENDING, and only he charges it.
const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  ...{ max: 20, connectionTimeoutMillis: 5_000, statement_timeout: 20_000, query_timeout: 22_000 },
});
const sql = pgPort(pool);
await pool.query('CREATE TABLE IF NOT EXISTS example_orders (id serial PRIMARY KEY, status text NOT NULL)');
await pool.query(
  'CREATE TABLE IF NOT EXISTS example_charges (id serial PRIMARY KEY, order_id integer NOT NULL)',
);

const app = express();

app.post('/orders', async (_request, response) => {
  const { rows } = await pool.query(`INSERT INTO example_orders (status) VALUES ('WAITING') RETURNING id`);
  response.status(201).json({ id: rows[0].id });
});

app.post('/orders/:id/pay', async (request, response) => {
  const id = Number(request.params.id);
  const move = (from: string, to: string) =>
    conditionalUpdate(sql, {
      table: 'example_orders',
      key: { id },
      expect: { status: from },
      set: { status: to },
    });
  const claim = await move('WAITING', 'PENDING');
  if (claim.outcome !== 'done') return void response.status(409).json({ error: 'not to be paid' });
  await charge(id);
  await move('PENDING', 'PAID');
  response.json({ id, status: 'PAID' });
});

/** Stands for the provider, who takes a moment, and the money. */
async function charge(orderId: number): Promise<void> {
  await sleep(20);
  await pool.query('INSERT INTO example_charges (order_id) VALUES ($1)', [orderId]);
}

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
