import mysql, { type TypeCastField } from 'mysql2/promise';
import pg from 'pg';

type Rows = Record<string, unknown>[];

/** A session of its own, in the middle of a transaction. */
export interface Holder {
  query(text: string): Promise<unknown>;
  release(): void;
}

/** The shop's database, behind the shop's back. */
export interface ShopTables {
  sql(text: string, values?: unknown[]): Promise<Rows>;
  /** Begins a transaction, and runs what keeps the others waiting. */
  hold(text: string): Promise<Holder>;
  /** The same, as one that the database does not choose when it breaks a deadlock. */
  holdAgainst(text: string): Promise<Holder>;
  /** Kills the sessions that wait for another's lock. */
  killWaiting(): Promise<unknown>;
  /** Transactions on this database that wait for another's lock. */
  waitingForLocks(): Promise<number>;
  /** Makes every insertion of a bill fail, or lets it be again. */
  breakBills(): Promise<unknown>;
  mendBills(): Promise<unknown>;
  /** Lets a purchase be written and no longer be read. */
  hidePurchases(): Promise<unknown>;
  closeSales(): Promise<unknown>;
  end(): Promise<void>;
}

export function openTables(databaseUrl: string): ShopTables {
  return databaseUrl.startsWith('mysql:') ? mysqlTables(databaseUrl) : postgresTables(databaseUrl);
}

const WAITING = `FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`;

function postgresTables(connectionString: string): ShopTables {
  const pool = new pg.Pool({ connectionString, max: 3 });
  // A server that is killed says so also to connections that are being ended, which the pool does not listen to any more.
  pool.on('connect', (client) => client.on('error', () => undefined));
  const sql = async (text: string, values: unknown[] = []) => (await pool.query(text, values)).rows as Rows;
  async function hold(text: string): Promise<Holder> {
    const client = await pool.connect();
    await client.query('BEGIN');
    await client.query(text);
    return client;
  }
  return {
    sql: (text, values = []) => {
      let parameter = 0;
      return sql(
        text.replaceAll('?', () => `$${++parameter}`),
        values,
      );
    },
    hold,
    // It looks for deadlocks when it has waited for this long; the shop's session, which waits for less, is ended.
    async holdAgainst(text) {
      const holder = await hold(text);
      await holder.query("SET LOCAL deadlock_timeout = '1min'");
      return holder;
    },
    killWaiting: () => sql(`SELECT pg_terminate_backend(pid) ${WAITING}`),
    waitingForLocks: async () => (await sql(`SELECT 1 ${WAITING}`)).length,
    breakBills: () => sql('ALTER TABLE bill ADD CONSTRAINT broken CHECK (false) NOT VALID'),
    mendBills: () => sql('ALTER TABLE bill DROP CONSTRAINT broken'),
    // What is written can no longer be read as a bill: the last column of the look-up is gone from sight.
    hidePurchases: () =>
      sql(`
        ALTER TABLE purchase RENAME TO purchase_kept;
        CREATE VIEW purchase AS
        SELECT id, order_id, payment_key, total_amount, currency, status, method,
               CASE WHEN 1 / (id - id) = 0 THEN provider END AS provider, created_at
          FROM purchase_kept;
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          INSERT INTO purchase_kept (order_id, payment_key, total_amount, currency, status, provider, method)
          VALUES (NEW.order_id, NEW.payment_key, NEW.total_amount, NEW.currency, NEW.status, NEW.provider, NEW.method)
          RETURNING id INTO NEW.id;
          RETURN NEW;
        END $$;
        CREATE TRIGGER keep INSTEAD OF INSERT ON purchase FOR EACH ROW EXECUTE FUNCTION keep()`),
    closeSales: () => sql('UPDATE lotto_round_info SET sales_close_at = clock_timestamp()'),
    end: () => pool.end(),
  };
}

function mysqlTables(uri: string): ShopTables {
  const database = new URL(uri).pathname.slice(1);
  const pool = mysql.createPool({
    uri,
    connectionLimit: 3,
    typeCast: (field: TypeCastField, next: () => unknown) =>
      field.type === 'VAR_STRING' ? field.string('utf8') : next(),
  });
  const sql = async (text: string, values: unknown[] = []) => (await pool.query(text, values))[0] as Rows;
  async function hold(text: string): Promise<Holder> {
    const connection = await pool.getConnection();
    await connection.query('BEGIN');
    await connection.query(text);
    return connection;
  }
  /** The tables of InnoDB's locks are cached for whoever asks often; its status report is not. */
  async function waitingThreads(): Promise<string[]> {
    const [report] = await sql('SHOW ENGINE INNODB STATUS');
    const ofThisDatabase = new RegExp(`HAS BEEN WAITING[^\\n]*\\n[^\\n]* of table \`${database}\`\\.`);
    return String(report?.Status)
      .split('---TRANSACTION ')
      .filter((transaction) => ofThisDatabase.test(transaction))
      .map((transaction) => /thread id (\d+)/.exec(transaction)?.[1] ?? '');
  }
  return {
    sql,
    hold,
    // InnoDB ends the transaction that has changed less.
    async holdAgainst(text) {
      await sql('CREATE TABLE IF NOT EXISTS weight (id int auto_increment primary key)');
      const holder = await hold(text);
      await holder.query(`INSERT INTO weight VALUES ${Array(1_000).fill('(NULL)').join()}`);
      return holder;
    },
    async killWaiting() {
      for (const thread of await waitingThreads()) await sql(`KILL CONNECTION ${thread}`);
    },
    waitingForLocks: async () => (await waitingThreads()).length,
    breakBills: () => sql('ALTER TABLE bill ADD CONSTRAINT broken CHECK (member_id < 0)'),
    mendBills: () => sql('ALTER TABLE bill DROP CONSTRAINT broken'),
    // The condition is evaluated when the view is read, and not when something is inserted through it.
    async hidePurchases() {
      await sql('RENAME TABLE purchase TO purchase_kept');
      await sql(
        'CREATE VIEW purchase AS SELECT * FROM purchase_kept WHERE id > (SELECT 1 UNION ALL SELECT order_id FROM orders)',
      );
    },
    closeSales: () => sql('UPDATE lotto_round_info SET sales_close_at = utc_timestamp(6)'),
    end: () => pool.end(),
  };
}
