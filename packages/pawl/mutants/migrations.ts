import type { Mutant, NamedTest } from './mutant.ts';

const migrate = (name: string): NamedTest => ({ file: 'test/migrate.test.ts', name });

/** The making of the library's tables. */
export const migrationMutants: readonly Mutant[] = [
  {
    file: 'src/migrate.ts',
    line: 'await transaction.execute(lock);',
    why: 'one at a time makes the tables',
    test: migrate('postgres > at once > eight in one process all end well, and one of them has applied'),
  },
  {
    file: 'src/migrate.ts',
    line: 'if (affectedRows === 1 || !missing.includes(migration)) applied.push(migration.name);',
    replacement: 'applied.push(migration.name);',
    why: 'one of many is told that it has applied',
    test: migrate('mariadb > at once > eight in one process all end well, and one of them has applied'),
  },
  {
    file: 'src/migrate.ts',
    line: `await requireFit(session, tables, 'idempotencyKey');`,
    why: 'somebody else’s table is not taken for ours',
    test: migrate(
      'postgres > somebody else’s tables > one without the column of an index is told by its own name too',
    ),
  },
  {
    file: 'src/migrate.ts',
    line: 'if (keys.includes(needed)) return;',
    replacement: 'return;',
    why: 'a table without its key is not used',
    test: migrate('postgres > tables that guard nothing > with the check, one without its key is an error'),
  },
  {
    file: 'src/migrate.ts',
    line: 'if (keys.includes(needed)) return;',
    replacement: 'if (keys.length > 0) return;',
    why: 'nor one with another key',
    test: migrate('mariadb > tables that guard nothing > a unique key that is not the one'),
  },
  {
    file: 'src/migrate.ts',
    line: 'const pending = gone ? known : missing;',
    replacement: 'const pending = missing;',
    why: 'a table that is gone is made again',
    test: migrate('mariadb > one of ours that is gone although it was applied is made again, and told'),
  },
  {
    file: 'src/postgres/migrations.ts',
    line: 'AND i.indpred IS NULL',
    why: 'a partial index is not the key',
    test: migrate('postgres > tables that guard nothing > a unique key that is not the one'),
  },
  {
    file: 'src/mysql/migrations.ts',
    line: ' AND count(s.sub_part) = 0',
    why: 'nor one of the first bytes',
    test: migrate('mariadb > tables that guard nothing > a unique key that is not the one'),
  },
  {
    file: 'src/migrate.ts',
    line: 'if (applied.size === 0) return missing;',
    replacement: 'return missing;',
    why: 'newer tables are left alone',
    test: migrate('postgres > tables that are newer than the library are left alone'),
  },
  {
    file: 'src/mysql/migrations.ts',
    line: 'idempotency_key VARBINARY(1020) NOT NULL',
    replacement: 'idempotency_key VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL',
    why: 'keys that differ are not taken for the same',
    test: migrate(
      'mariadb > the tables > take keys for different that differ in case, accent, trailing blank, or composition alone',
    ),
  },
];
