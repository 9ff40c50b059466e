import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { failpointVisits } from '../../src/nemesis/failpoint-visits.ts';
import { temporaryDirectory } from '../cluster/helpers.ts';

const visit = { name: 'durable-call.send.after', visit: 1, pid: 7, struck: true };

test('what was passed is told line by line, also while more is being passed', () => {
  const file = join(temporaryDirectory(), 'visits.jsonl');
  expect(failpointVisits(file)).toEqual([]);
  appendFileSync(file, `${JSON.stringify(visit)}\n`);
  expect(failpointVisits(file)).toEqual([visit]);
  appendFileSync(file, `${JSON.stringify({ ...visit, visit: 2, struck: false })}\n`);
  expect(failpointVisits(file)).toHaveLength(2);
});

test('a line that is not whole is an error, because a strike may be missing', () => {
  const file = join(temporaryDirectory(), 'visits.jsonl');
  appendFileSync(file, '{"name":"durable');
  expect(() => failpointVisits(file)).toThrow(SyntaxError);
});
