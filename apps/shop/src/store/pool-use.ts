import type { Dialect } from 'kysely';

/** How busy the connections of a pool are. */
export interface PoolUse {
  readonly most: number;
  /** Lent at this moment. */
  readonly used: number;
  /** Who has asked for one, and has none yet. */
  readonly waiting: number;
}

/** Counts what is lent, on either database alike: whoever wants a connection of the pool asks the dialect's driver for it. */
export function countUse(dialect: Dialect, most: number): { dialect: Dialect; use: PoolUse } {
  let used = 0;
  let waiting = 0;
  const counting: Dialect = {
    createAdapter: () => dialect.createAdapter(),
    createIntrospector: (db) => dialect.createIntrospector(db),
    createQueryCompiler: () => dialect.createQueryCompiler(),
    createDriver() {
      const driver = dialect.createDriver();
      const acquire = driver.acquireConnection.bind(driver);
      const release = driver.releaseConnection.bind(driver);
      driver.acquireConnection = async (...options) => {
        waiting++;
        try {
          const connection = await acquire(...options);
          used++;
          return connection;
        } finally {
          waiting--;
        }
      };
      driver.releaseConnection = (...lent) => {
        used--;
        return release(...lent);
      };
      return driver;
    },
  };
  return {
    dialect: counting,
    use: {
      most,
      get used() {
        return used;
      },
      get waiting() {
        return waiting;
      },
    },
  };
}
