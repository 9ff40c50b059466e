import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { IdempotencyClaim, StoredAnswer } from '../idempotency-record.ts';
import type { IdempotencyStore } from '../idempotency-store.ts';
import { newAnswer, seenAnswer } from './answers.ts';
import type { ConformanceCase } from './case.ts';
import type { OnRecordsBench } from './records-bench.ts';
import { together, until } from './waiting.ts';

const LONG_MS = 300_000;
const LONG = { leaseMs: LONG_MS, retentionMs: LONG_MS };
/** Over as soon as somebody looks again. */
const OVER_MS = 1;
const CLAIMANTS = 20;

const PAYLOAD = 'a'.repeat(64);
const OTHER_PAYLOAD = 'b'.repeat(64);

function claimOf(id: { scope: string; key: string }, more: Partial<IdempotencyClaim> = {}): IdempotencyClaim {
  return { ...id, mode: 'leased', fingerprint: PAYLOAD, owner: randomUUID(), ...LONG, ...more };
}

const newId = () => ({ scope: '["member-1","POST /conformance"]', key: randomUUID() });

function answerToStore(): StoredAnswer {
  return { headers: {}, ...newAnswer() };
}

async function leaseIsOver(store: IdempotencyStore, id: { scope: string; key: string }): Promise<void> {
  await until(async () => ((await store.read(id))?.leaseLeftMs ?? 0) <= 0, 'the end of the lease');
}

/** Nobody but its owner changes a record, and nobody at all one that has its answer. */
async function refusesAll(store: IdempotencyStore, id: { scope: string; key: string }, owner: string) {
  assert.equal(await store.renew(id, owner, LONG), false, 'renewed');
  assert.equal(await store.complete(id, owner, answerToStore(), LONG_MS), false, 'completed');
  assert.equal(await store.release(id, owner), false, 'released');
}

/** What the leased key relies on in every store: `IdempotencyStore`. */
export function idempotencyStoreCases(onBench: OnRecordsBench): readonly ConformanceCase[] {
  return [
    {
      name: `store: of ${CLAIMANTS} that claim a record at once one has it, and all others are told whose it is`,
      run: () =>
        onBench(async ({ store }) => {
          const id = newId();
          const claims = Array.from({ length: CLAIMANTS }, () => claimOf(id));
          const found = await together(CLAIMANTS, (index) => store.claim(claims[index] ?? assert.fail()));
          const winners = claims.filter((_, index) => found[index]?.claimed);
          assert.equal(winners.length, 1);
          for (const one of found) {
            if (one.claimed) {
              assert.equal(one.attempt, 1);
              continue;
            }
            const { leaseLeftMs, ...record } = one.record;
            const { mode, fingerprint, owner } = winners[0] ?? assert.fail();
            assert.deepEqual({ ...record }, { mode, fingerprint, owner, attempt: 1, answer: undefined });
            assert.ok(leaseLeftMs > 0 && leaseLeftMs <= LONG_MS, `${leaseLeftMs} ms are left of the lease`);
          }
        }),
    },
    {
      name: 'store: nobody but its owner renews, completes or releases a record',
      run: () =>
        onBench(async ({ store }) => {
          const id = newId();
          const { owner } = await claimed(store, claimOf(id));
          await refusesAll(store, id, randomUUID());
          assert.equal((await store.read(id))?.answer, undefined);
          assert.equal(await store.renew(id, owner, LONG), true);
          assert.equal(await store.complete(id, owner, answerToStore(), LONG_MS), true);
        }),
    },
    {
      name: 'store: an answer is given again as it was stored, and never changed',
      run: () =>
        onBench(async ({ store }) => {
          const id = newId();
          const { owner } = await claimed(store, claimOf(id));
          const answer = answerToStore();
          assert.equal(await store.complete(id, owner, answer, LONG_MS), true);
          await refusesAll(store, id, owner);
          const found = await store.claim(claimOf(id));
          assert.ok(!found.claimed && found.record.answer !== undefined);
          assert.deepEqual(seenAnswer(found.record.answer), seenAnswer(answer));
          const read = await store.read(id);
          assert.ok(read?.answer !== undefined);
          assert.deepEqual(seenAnswer(read.answer), seenAnswer(answer));
        }),
    },
    {
      name: 'store: a record whose lease is over is taken over once, and its last owner changes nothing more',
      run: () =>
        onBench(async ({ store }) => {
          const id = newId();
          const { owner } = await claimed(store, claimOf(id, { leaseMs: OVER_MS }));
          await leaseIsOver(store, id);
          const found = await together(CLAIMANTS, () => store.claim(claimOf(id)));
          const winners = found.filter((one) => one.claimed);
          assert.deepEqual(winners, [{ claimed: true, attempt: 2 }]);
          await refusesAll(store, id, owner);
        }),
    },
    {
      name: 'store: an owner whose lease is over completes as long as nobody has taken over',
      run: () =>
        onBench(async ({ store }) => {
          const id = newId();
          const { owner } = await claimed(store, claimOf(id, { leaseMs: OVER_MS }));
          await leaseIsOver(store, id);
          assert.equal(await store.complete(id, owner, answerToStore(), LONG_MS), true);
          const found = await store.claim(claimOf(id));
          assert.equal(found.claimed, false);
        }),
    },
    {
      name: 'store: a renewal prolongs the lease, by the clock of the store',
      run: () =>
        onBench(async ({ store }) => {
          const id = newId();
          const { owner } = await claimed(store, claimOf(id, { leaseMs: OVER_MS }));
          await leaseIsOver(store, id);
          assert.equal(await store.renew(id, owner, LONG), true);
          const found = await store.claim(claimOf(id));
          assert.ok(!found.claimed && found.record.leaseLeftMs > OVER_MS);
        }),
    },
    {
      name: 'store: another payload does not take a record over, also when its lease is over',
      run: () =>
        onBench(async ({ store }) => {
          const id = newId();
          await claimed(store, claimOf(id, { leaseMs: OVER_MS }));
          await leaseIsOver(store, id);
          const found = await store.claim(claimOf(id, { fingerprint: OTHER_PAYLOAD }));
          assert.ok(!found.claimed && found.record.fingerprint === PAYLOAD);
        }),
    },
    {
      name: 'store: a record that was released is free at once, and so is one whose retention is over',
      run: () =>
        onBench(async ({ store }) => {
          const id = newId();
          const { owner } = await claimed(store, claimOf(id));
          assert.equal(await store.release(id, owner), true);
          assert.equal(await store.read(id), undefined);
          const second = await claimed(store, claimOf(id, { fingerprint: OTHER_PAYLOAD }));
          assert.equal(await store.complete(id, second.owner, answerToStore(), OVER_MS), true);
          await until(async () => (await store.read(id)) === undefined, 'the end of the retention');
          assert.deepEqual(await store.claim(claimOf(id)), { claimed: true, attempt: 1 });
        }),
    },
    {
      name: 'store: it sweeps what is over, and nothing else',
      run: () =>
        onBench(async ({ store }) => {
          const [over, kept] = [newId(), newId()];
          const { owner } = await claimed(store, claimOf(over));
          await store.complete(over, owner, answerToStore(), OVER_MS);
          await claimed(store, claimOf(kept));
          await until(async () => (await store.read(over)) === undefined, 'the end of the retention');
          await store.sweep(CLAIMANTS);
          assert.equal(await store.sweep(CLAIMANTS), 0);
          assert.equal((await store.claim(claimOf(kept))).claimed, false);
        }),
    },
    {
      name: 'store: keys and scopes are told apart byte by byte',
      run: () =>
        onBench(async ({ store }) => {
          const base = newId();
          const keys = [
            'Key',
            'key',
            'Key ',
            ' Key',
            'Käy',
            'Kay',
            'KEY',
            'Ke\u0301y',
            'K\u00e9y',
            "K'y",
            'K\\y',
            'K%y',
          ];
          const scopes = [base.scope, base.scope.toUpperCase(), '["member-1"]'];
          const ids = scopes.flatMap((scope) => keys.map((key) => ({ scope, key: `${base.key} ${key}` })));
          for (const id of ids) await claimed(store, claimOf(id));
          for (const id of ids) assert.equal((await store.claim(claimOf(id))).claimed, false);
        }),
    },
  ];
}

async function claimed(store: IdempotencyStore, claim: IdempotencyClaim): Promise<{ owner: string }> {
  assert.deepEqual(await store.claim(claim), { claimed: true, attempt: 1 });
  return { owner: claim.owner };
}
