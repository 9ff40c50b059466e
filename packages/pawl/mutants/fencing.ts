// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are lines of code.
import type { Mutant, NamedTest } from './mutant.ts';

const fencing = (name: string): NamedTest => ({ file: 'test/fencing.test.ts', name });

/** The fence behind every lock. */
export const fencingMutants: readonly Mutant[] = [
  {
    file: 'src/postgres/fencing.ts',
    line: ' AND ${name} < ${sql.value(token)}',
    why: 'a token that is lower lets nobody in',
    test: fencing(
      'postgres > over the port of the driver > a token that is equal or lower is refused as fenced, and nothing changes',
    ),
  },
  {
    file: 'src/mysql/fencing.ts',
    line: ' AND ${name} < ${sql.value(token)}',
    why: 'a token that is lower lets nobody in',
    test: fencing(
      'mariadb > over the port of the driver > a token that is equal or lower is refused as fenced, and nothing changes',
    ),
  },
  {
    file: 'src/fencing.ts',
    line: '{ ...expect, [fence.column]: fence.token }',
    replacement: 'expect',
    why: 'who was fenced off writes nothing any more',
    test: fencing(
      'postgres > a holder that outlasts its lease > with the registration before the read, is refused and told why',
    ),
  },
  {
    file: 'src/fencing.ts',
    line: 'if (carried === token) return done(undefined);',
    replacement: 'return done(undefined);',
    why: 'what is written elsewhere is rolled back with the section',
    test: fencing(
      'postgres > writes to other tables > are rolled back where a later section has been let in, or is being let in',
    ),
  },
  {
    file: 'src/fencing.ts',
    line: `lookAtFence(transaction, fenced, 'share')`,
    replacement: `lookAtFence(transaction, fenced, 'update')`,
    why: 'those of one section do not wait for each other',
    test: fencing('postgres > writes to other tables > of one section may be verified side by side'),
  },
  {
    file: 'src/fencing.ts',
    line: `(await lookAtFence(sql, registration, 'update')) >= fence.token`,
    replacement: `(await lookAtFence(sql, registration, 'update')) > fence.token`,
    why: 'a token that was used already is somebody’s',
    test: fencing(
      'postgres > over the port of the driver > of 50 that register the same token at once, one does',
    ),
  },
  {
    file: 'src/fencing.ts',
    line: `lookAtFence(sql, update, 'update')`,
    replacement: `lookAtFence(sql, update, 'share')`,
    why: 'who goes on to change the row is no deadlock with who waits for it',
    test: fencing(
      'mariadb > a refusal > in a transaction that goes on to change the row, is no deadlock with who waits to register',
    ),
  },
  {
    file: 'src/fencing.ts',
    line: '!Number.isSafeInteger(token) || token < 1',
    replacement: 'false',
    why: 'two tokens that are rounded to one are not told apart',
    test: fencing(
      'postgres > a token that is no whole number from 1 to 2^53 − 1 is refused, and nothing is sent',
    ),
  },
];
