// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are lines of code.
import type { Mutant, NamedTest } from './mutant.ts';

const leased = (name: string): NamedTest => ({ file: 'test/idempotency-key.test.ts', name });
const transactional = (name: string): NamedTest => ({ file: 'test/idempotency-transaction.test.ts', name });

const takeover = (name: string): NamedTest => ({ file: 'test/idempotency-takeover.test.ts', name });
const ENDS_BY_ITSELF: NamedTest = {
  file: 'test/idempotency-redis.test.ts',
  name: 'every record ends by itself',
};

const OF_50 =
  'of 50 simultaneous requests one runs, 49 are refused while it does, and then all get its answer';
const OTHER_PAYLOAD =
  'an abandoned key is not taken over by another payload: the first may have had its effect';
const SHOWS_OWNER =
  'every step but the claim shows its owner, and a record that is done is never written again';
const FREE_AGAIN =
  'what becomes of a key > when its retention is over it is free, for any payload, and for sweeping';
const LONG_WORK = 'work that takes longer than its lease is renewed, and nobody else runs';
const BEING_COMPLETED =
  'a lease that ends while the record is being completed is not taken: the holder’s transaction decides';

const BEFORE_7: NamedTest = {
  file: 'test/idempotency-model.test.ts',
  name: 'redis before 7 does what is specified, step by step > any order of claims, renewals, completions, releases, and ends of leases',
};
const redisOnly = (name: string): NamedTest => ({ file: 'test/idempotency-redis.test.ts', name });

const redis: readonly Mutant[] = [
  {
    file: 'src/redis/idempotency-key.ts',
    line: `'NX', 'GET', 'PX'`,
    replacement: `'GET', 'PX'`,
    why: 'a key that is there is not claimed',
    test: leased(`redis > ${OF_50}`),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: '^${RUNNING}%S+',
    replacement: '^%S+ %S+',
    why: 'a record that is done is never taken over',
    test: BEFORE_7,
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: 'not leaseEnd or fingerprint ~= ARGV[1] or left',
    replacement: 'not leaseEnd or left',
    why: 'another payload does not take a key over',
    test: leased(`redis > ${OTHER_PAYLOAD}`),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: ' or left > tonumber(leaseEnd)',
    why: 'a key whose lease lives is taken',
    test: leased(`redis > ${OF_50}`),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: 'left > tonumber(leaseEnd) then',
    replacement: 'left > 0 then',
    why: 'the lease is over before the retention is',
    test: leased(`redis > ${OTHER_PAYLOAD}`),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: 'attempt = tonumber(last) + 1',
    why: 'who takes over is told so',
    test: leased(`redis > ${OTHER_PAYLOAD}`),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: ` or string.sub(record, 1, #ARGV[1]) ~= ARGV[1] then`,
    replacement: ' then',
    why: 'only its owner writes a record, and nobody one that is done',
    test: leased(`redis > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: 'const given = [`${RUNNING}${owner} `, encoded(answer), retentionMs];',
    replacement: 'const given = [RUNNING, encoded(answer), retentionMs];',
    why: 'only its owner stores an answer',
    test: leased(`redis > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: `'\${DONE}' .. string.sub`,
    replacement: `'\${RUNNING}' .. string.sub`,
    why: 'a record that is done is never written again',
    test: leased(`redis > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: `redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2] .. rest, 'PX', ARGV[3])`,
    why: 'a renewal prolongs the lease',
    test: leased(`redis > ${LONG_WORK}`),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: 'ARGV[1] .. ARGV[2] .. rest',
    replacement: 'record',
    why: 'the lease ends where the renewal says, also when it says another retention',
    test: redisOnly('a renewal and an answer each prolong the life of their record'),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: `'NX', 'GET', 'PX', retentionMs)`,
    replacement: `'NX', 'GET')`,
    why: 'a record in Redis ends by itself',
    test: ENDS_BY_ITSELF,
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: 'if (!refused) throw error;',
    replacement: 'throw error;',
    why: 'a server before Redis 7 is asked by script, and so is one that is full',
    test: BEFORE_7,
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: 'if (!refused) throw error;',
    why: 'a claim whose answer was lost is not made again',
    test: redisOnly('a claim whose answer is lost is unknown, and is not sent again by script'),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: '`${prefix}${scope}${key}`',
    replacement: '`${prefix}${key}`',
    why: 'nobody is answered with what is another member’s',
    test: leased('redis > what makes a key another key > another member'),
  },
  {
    file: 'src/redis/idempotency-key.ts',
    line: `isUtf8(bytes) ? 'utf8' : 'base64'`,
    replacement: `'utf8'`,
    why: 'a replay has the same bytes',
    test: leased('redis > every byte, every status and the listed headers come back, and no others'),
  },
];

const memory: readonly Mutant[] = [
  {
    file: 'src/memory/idempotency-key.ts',
    line: 'held?.owner === owner && held.answer',
    replacement: 'held?.answer',
    why: 'only its owner writes a record',
    test: leased(`memory > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/memory/idempotency-key.ts',
    line: 'held?.owner === owner && held.answer === undefined',
    replacement: 'held?.owner === owner',
    why: 'a record that is done is never written again',
    test: leased(`memory > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/memory/idempotency-key.ts',
    line: 'found.answer === undefined && ',
    why: 'a record that is done is never taken over',
    test: leased(`memory > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/memory/idempotency-key.ts',
    line: 'found.fingerprint === fingerprint && ',
    why: 'another payload does not take a key over',
    test: leased(`memory > ${OTHER_PAYLOAD}`),
  },
  {
    file: 'src/memory/idempotency-key.ts',
    line: ' && found.leaseUntilMs <= nowMs()',
    why: 'a key whose lease lives is taken',
    test: leased(`memory > ${OF_50}`),
  },
  {
    file: 'src/memory/idempotency-key.ts',
    line: 'held !== undefined && held.expiresAtMs > nowMs() ? held : undefined',
    replacement: 'held',
    why: 'a record whose retention is over is none',
    test: leased(`memory > ${FREE_AGAIN}`),
  },
  {
    file: 'src/memory/idempotency-key.ts',
    line: 'body: Uint8Array.from(answer.body)',
    replacement: 'body: answer.body',
    why: 'a replay has the same bytes',
    test: leased('memory > what its first caller does to the bytes afterwards is not replayed'),
  },
];

const postgres: readonly Mutant[] = [
  {
    file: 'src/postgres/idempotency-key.ts',
    line: '(status IS NULL AND mode',
    replacement: '(mode',
    why: 'a record that is done is never taken over',
    test: leased(`postgres > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: ' AND mode = ${mode}',
    why: 'a key is used in one mode',
    test: transactional('postgres > a key has one mode: the other is a misuse, and nothing runs'),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: ' AND fingerprint = ${fingerprint}\n',
    replacement: '\n',
    why: 'another payload does not take a key over',
    test: leased(`postgres > ${OTHER_PAYLOAD}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: '\n    AND lease_until <= ${NOW}))`',
    replacement: '))`',
    why: 'a key whose lease lives is taken',
    test: leased(`postgres > ${OF_50}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: 'WHERE ${its} AND ${free} ${lock}',
    replacement: 'WHERE ${its} ${lock}',
    why: 'who waited for the record looks again whether it is free',
    test: leased(`postgres > ${OF_50}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: `'FOR UPDATE SKIP LOCKED' :`,
    replacement: `'FOR UPDATE' :`,
    why: 'nobody waits with a connection for a record that is being completed',
    test: leased(`in a transaction of the caller’s, postgres > ${BEING_COMPLETED}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: `'FOR UPDATE SKIP LOCKED' :`,
    replacement: `'' :`,
    why: 'of many who find a lease over, one takes it',
    test: takeover(
      'a record that somebody holds, postgres > of two who meet at the same record, at most one takes it over',
    ),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: `: 'FOR UPDATE'`,
    replacement: `: ''`,
    why: 'of many who find a retention over, one takes the record',
    test: takeover(
      'a record that somebody holds, postgres > of ten who wait for one whose retention is over, one takes it, and all others get his answer',
    ),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: '       ON CONFLICT DO NOTHING\n',
    why: 'a lost claim is no failure',
    test: transactional('postgres > of 50 duplicates one does the work, and 49 wait and get its answer'),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: 'WHEN expired THEN 1 ELSE attempt + 1',
    replacement: 'WHEN expired THEN 1 ELSE attempt',
    why: 'who takes over is told so',
    test: leased(`postgres > ${OTHER_PAYLOAD}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: ', status = NULL, headers = NULL, body = NULL',
    why: 'who takes an expired record over is not given its old answer',
    test: leased(`postgres > ${FREE_AGAIN}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: `(Number(row.free) && claim.mode === 'transactional')`,
    replacement: 'false',
    why: 'who found a record free that was taken meanwhile looks again',
    test: takeover(
      'a record that somebody holds, postgres > of ten who wait for one whose retention is over, one takes it, and all others get his answer',
    ),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: ' AND owner = ${sql.value(owner)}::uuid',
    why: 'only its owner writes a record',
    test: leased(`postgres > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: '`${mine} AND status IS NULL AND',
    replacement: '`${mine} AND',
    why: 'a record that is done is never written again',
    test: leased(`postgres > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: 'status IS NULL AND expires_at > ${NOW}`',
    replacement: 'status IS NULL`',
    why: 'what is over is nobody’s, also before it is forgotten',
    test: {
      file: 'test/idempotency-model.test.ts',
      name: 'postgres does what is specified, step by step > any order of claims, renewals, completions, releases, and ends of leases',
    },
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: '${its(sql, id)} AND expires_at > ${NOW}`',
    replacement: '${its(sql, id)}`',
    why: 'a record whose retention is over is none',
    test: leased(`postgres > ${FREE_AGAIN}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: 'SET lease_until = ${sql.later(leaseMs)},',
    replacement: 'SET',
    why: 'a renewal prolongs the lease',
    test: leased(`postgres > ${LONG_WORK}`),
  },
  {
    file: 'src/postgres/idempotency-key.ts',
    line: 'expires_at = ${sql.later(retentionMs)}\n     WHERE ${inProgressOf(sql, id, owner)}`,\n  );\n};\n\nexport const release',
    replacement:
      'expires_at = expires_at\n     WHERE ${inProgressOf(sql, id, owner)}`,\n  );\n};\n\nexport const release',
    why: 'an answer is replayed for its whole retention',
    test: takeover('the retention, postgres > begins anew with a renewal, and with the answer'),
  },
];

const mysql: readonly Mutant[] = [
  {
    file: 'src/mysql/idempotency-key.ts',
    line: '${EXPIRED} OR (status IS NULL AND mode',
    replacement: '${EXPIRED} OR (mode',
    why: 'a record that is done is never taken over',
    test: leased(`mariadb > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: ' AND mode = ${sql.value(claim.mode)}\n',
    replacement: '\n',
    why: 'a key is used in one mode',
    test: transactional('mariadb > a key has one mode: the other is a misuse, and nothing runs'),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: '\n    AND fingerprint = ${sql.value(fingerprintOf(claim))}',
    why: 'another payload does not take a key over',
    test: leased(`mariadb > ${OTHER_PAYLOAD}`),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: `if (error instanceof StoreError && error.code === 'DUPLICATE_KEY') return false;`,
    why: 'a lost claim is no failure',
    test: leased(`mariadb > ${OF_50}`),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: 'AND (${EXPIRED} OR (status IS NULL AND lease_until <= ${NOW}))`',
    replacement: 'AND (${EXPIRED} OR (lease_until <= ${NOW}))`',
    why: 'what was found is compared once more: it may be done',
    test: takeover(
      'mariadb > between his look and his takeover its holder completes it after all: he sees it',
    ),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: 'status IS NULL AND lease_until <= ${NOW}))`,',
    replacement: 'status IS NULL))`,',
    why: 'what was found is compared once more: its holder may have renewed it',
    test: takeover('mariadb > between his look and his takeover its holder renews it after all: he sees it'),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: 'AND owner = ${sql.value(owner)}\n',
    replacement: '\n',
    why: 'what was found is compared once more: the attempt is counted from it',
    test: takeover(
      'mariadb > between his look and his takeover another takes it over, and is stalled past its lease too: he sees it',
    ),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: 'await transaction.execute(lockWithoutWaiting(table, claim));',
    why: 'nobody waits with a connection for a record that is being completed',
    test: leased(`in a transaction of the caller’s, mariadb > ${BEING_COMPLETED}`),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: 'if ((await session.execute(take)).affectedRows === 1) return',
    replacement: 'await session.execute(take); return',
    why: 'a takeover that found nothing to take is none',
    test: takeover(
      'a record that somebody holds, mariadb > of ten who wait for one whose retention is over, one takes it, and all others get his answer',
    ),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: 'return affectedRows === 1 ? { claimed: true, attempt } : undefined;',
    replacement: 'return { claimed: true, attempt };',
    why: 'a takeover that found nothing to take is none',
    test: takeover('mariadb > between his look and his takeover another takes it over: he sees it'),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: 'Number(row.expired) ? 1 : record.attempt + 1',
    replacement: '1',
    why: 'who takes over is told so',
    test: leased(`mariadb > ${OTHER_PAYLOAD}`),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: 'status = NULL, headers = NULL, body = NULL',
    replacement: 'headers = NULL',
    why: 'who takes an expired record over is not given its old answer',
    test: leased(`mariadb > ${FREE_AGAIN}`),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: '${its(sql, id)} AND owner = ${sql.value(owner)}`',
    replacement: '${its(sql, id)}`',
    why: 'only its owner writes a record',
    test: leased(`mariadb > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: '`${mine} AND status IS NULL AND NOT',
    replacement: '`${mine} AND NOT',
    why: 'a record that is done is never written again',
    test: leased(`mariadb > ${SHOWS_OWNER}`),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: 'status IS NULL AND NOT ${EXPIRED}`',
    replacement: 'status IS NULL`',
    why: 'what is over is nobody’s, also before it is forgotten',
    test: {
      file: 'test/idempotency-model.test.ts',
      name: 'mariadb does what is specified, step by step > any order of claims, renewals, completions, releases, and ends of leases',
    },
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: '${its(sql, id)} AND NOT ${EXPIRED}`',
    replacement: '${its(sql, id)}`',
    why: 'a record whose retention is over is none',
    test: leased(`mariadb > ${FREE_AGAIN}`),
  },
  {
    file: 'src/mysql/idempotency-key.ts',
    line: 'SET lease_until = ${sql.later(leaseMs)},',
    replacement: 'SET',
    why: 'a renewal prolongs the lease',
    test: leased(`mariadb > ${LONG_WORK}`),
  },
];

/** The steps of each store, every one of them atomic. */
export const idempotencyStoreMutants: readonly Mutant[] = [...redis, ...memory, ...postgres, ...mysql];
