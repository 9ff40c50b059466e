import { describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import { claimUnique, conditionalUpdate, done, MisuseError, refused } from '../src/index.ts';
import { sqlStores } from './stores.ts';
import { count, onTickets, RACERS, run, sql, store, TICKET, ticketRow } from './tickets.ts';

describe.each(sqlStores)('%s', (name) => {
  onTickets(name);

  describe('conditional update', () => {
    test('without a guard, 50 buyers of one ticket all believe they have it', async () => {
      const everybodyHasLooked = barrier(RACERS);
      const bought = await together(RACERS, async (buyer) => {
        const { rows } = await run(sql, 'SELECT status FROM ticket WHERE id = 1');
        await everybodyHasLooked();
        if (rows[0]?.status !== 'free') return false;
        await run(sql, `UPDATE ticket SET status = 'sold', buyer = ? WHERE id = 1`, String(buyer));
        return true;
      });
      expect(bought.filter(Boolean)).toHaveLength(RACERS);
    });

    test('with it, one buyer wins and 49 are refused', async () => {
      const everybodyHasLooked = barrier(RACERS);
      const outcomes = await together(RACERS, async (buyer) => {
        await run(sql, 'SELECT status FROM ticket WHERE id = 1');
        await everybodyHasLooked();
        const set = { status: 'sold', buyer: String(buyer) };
        return conditionalUpdate(sql, { ...TICKET, expect: { status: 'free' }, set });
      });
      expect(count(outcomes, 'done')).toBe(1);
      expect(outcomes.filter((one) => one.outcome === 'refused')).toEqual(
        Array(49).fill(refused('wrong-state')),
      );
      const winner = String(outcomes.findIndex((one) => one.outcome === 'done'));
      expect(await ticketRow()).toMatchObject({ status: 'sold', buyer: winner });
    });

    test('a racer that waited for another transaction reads the condition again', async () => {
      const first = await store.connect();
      await first.begin('READ COMMITTED');
      await first.query(`UPDATE ticket SET status = 'sold' WHERE id = 1`);
      const second = conditionalUpdate(sql, {
        ...TICKET,
        expect: { status: 'free' },
        set: { status: 'sold' },
      });
      await until(async () => (await store.waitingForLocks()) === 1);
      await first.query('COMMIT');
      expect(await second).toEqual(refused('wrong-state'));
    });

    test('null is a value to expect and to set', async () => {
      const taken = { ...TICKET, expect: { buyer: null }, set: { buyer: 'a' } };
      expect(await conditionalUpdate(sql, taken)).toEqual(done(undefined));
      expect(await conditionalUpdate(sql, taken)).toEqual(refused('wrong-state'));
      const freed = { ...TICKET, expect: { buyer: 'a' }, set: { buyer: null } };
      expect(await conditionalUpdate(sql, freed)).toEqual(done(undefined));
      expect(await ticketRow()).toMatchObject({ buyer: null });
    });

    test('an update that only repeats what it expects would let everybody through, so it is refused', async () => {
      const bare = `UPDATE ticket SET status = 'free' WHERE id = 1 AND status = 'free'`;
      for (let caller = 0; caller < 2; caller++) expect((await run(sql, bare)).affectedRows).toBe(1);

      const same = { status: 'free' };
      await expect(conditionalUpdate(sql, { ...TICKET, expect: same, set: same })).rejects.toThrow(
        MisuseError,
      );
      await expect(conditionalUpdate(sql, { ...TICKET, expect: same, set: {} })).rejects.toThrow(MisuseError);
      const counted = { ...TICKET, expect: { status: 'free', version: 0 }, set: same, increment: 'version' };
      expect(await conditionalUpdate(sql, counted)).toEqual(done(undefined));
      expect(await conditionalUpdate(sql, counted)).toEqual(refused('wrong-state'));
    });

    test('equal dates and equal bytes repeat too, and what is counted up cannot be set', async () => {
      const now = new Date();
      const dates = { expect: { status: now }, set: { status: new Date(now) } };
      await expect(conditionalUpdate(sql, { ...TICKET, ...dates })).rejects.toThrow(MisuseError);
      const bytes = { expect: { status: Buffer.from('a') }, set: { status: new Uint8Array([97]) } };
      await expect(conditionalUpdate(sql, { ...TICKET, ...bytes })).rejects.toThrow(MisuseError);
      const both = { expect: { status: 'free' }, set: { version: 5 }, increment: 'version' };
      await expect(conditionalUpdate(sql, { ...TICKET, ...both })).rejects.toThrow(MisuseError);
    });

    test('a column cannot be given twice: it would name another row', async () => {
      const twice = { ...TICKET, expect: { id: 2 }, set: { status: 'x' } };
      await expect(conditionalUpdate(sql, twice)).rejects.toThrow(MisuseError);
      const claim = { table: 'claim', key: { claim_key: 'a' }, values: { claim_key: 'b', owner: 'x' } };
      await expect(claimUnique(sql, claim)).rejects.toThrow(MisuseError);
    });

    test('names that are not plain, and a row without a key, are refused before anything is sent', async () => {
      const attempts = [
        { ...TICKET, expect: { 'status" = 1; --': 1 }, set: { status: 'x' } },
        { ...TICKET, expect: { 'status` = 1; -- ': 1 }, set: { status: 'x' } },
        { table: 'ticket; DROP TABLE ticket', key: { id: 1 }, expect: {}, set: { status: 'x' } },
        { table: 'ticket', key: {}, expect: {}, set: { status: 'x' } },
      ];
      for (const attempt of attempts) {
        await expect(conditionalUpdate(sql, attempt)).rejects.toThrow(MisuseError);
      }
      expect(await ticketRow()).toMatchObject({ status: 'free' });
    });
  });
});
