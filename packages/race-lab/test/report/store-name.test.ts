import { expect, test } from 'vitest';
import { withoutCredentials } from '../../src/report/store-name.ts';

test.each([
  ['mariadb', 'mariadb'],
  ['mysql://me:secret@db.example:3307/shop?password=secret', 'mysql://db.example:3307/shop'],
  ['mariadb://me:se%40cret@[::1]/shop', 'mariadb://[::1]/shop'],
  // What is no URL, and what has no host: the password may be anywhere in it.
  ['postgres://me:secret@secret@db:port/shop', 'postgres://'],
  ['mysql:me:secret@db/shop', 'mysql://'],
  ['mysql:///shop?user=me&password=secret', 'mysql://'],
])('the store %s is printed as %s', (store, printed) => {
  expect(withoutCredentials(store)).toBe(printed);
});
