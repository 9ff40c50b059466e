import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { eq } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, pgTable, serial, text } from 'drizzle-orm/pg-core';
import express from 'express';
import pg from 'pg';

// In a transaction, and so it looks safe. At the default isolation, READ COMMITTED, all read WAITING before one has committed.
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
await pool.query('CREATE TABLE IF NOT EXISTS example_orders (id serial PRIMARY KEY, status text NOT NULL)');
await pool.query(
  'CREATE TABLE IF NOT EXISTS example_charges (id serial PRIMARY KEY, order_id integer NOT NULL)',
);
const orders = pgTable('example_orders', { id: serial().primaryKey(), status: text().notNull() });
const charges = pgTable('example_charges', {
  id: serial().primaryKey(),
  orderId: integer('order_id').notNull(),
});
const db = drizzle(pool);
const provider = drizzle(new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 5 }));

const app = express();

app.post('/orders', async (_request, response) => {
  const [order] = await db.insert(orders).values({ status: 'WAITING' }).returning();
  response.status(201).json({ id: order?.id });
});

app.post('/orders/:id/pay', async (request, response) => {
  const id = Number(request.params.id);
  const isPaid = await db.transaction(async (transaction) => {
    const [order] = await transaction.select().from(orders).where(eq(orders.id, id));
    if (order?.status !== 'WAITING') return false;
    await charge(id);
    await transaction.update(orders).set({ status: 'PAID' }).where(eq(orders.id, id));
    return true;
  });
  if (isPaid) response.json({ id, status: 'PAID' });
  else response.status(409).json({ error: 'not to be paid' });
});

/** Stands for the provider, who takes a moment, and the money: no rollback of ours gives it back. */
async function charge(orderId: number): Promise<void> {
  await sleep(20);
  await provider.insert(charges).values({ orderId });
}

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
