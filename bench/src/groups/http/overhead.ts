import { randomUUID } from 'node:crypto';
import type { Measurement } from '../../measurement.ts';
import { spreadOf } from '../../statistics.ts';
import type { Answered, Requests } from './requests.ts';
import { type Kind, kinds, pathOf, type Subject } from './subjects.ts';

export const OVERHEAD = 'overhead ÷ store';

/** So many requests each caller sends of one kind before the next. */
const AT_A_TIME = 8;

/** What the middleware adds to a fresh request, beside what the two operations of the store add that it needs. */
export async function measureOverhead(
  requests: Requests,
  { store }: Subject,
  callers: number,
  requestsEach: number,
): Promise<Measurement> {
  const took: Record<Kind, number[]> = { plain: [], store: [], guarded: [] };
  const seen = { wrong: new Set<string>() };

  const caller = async (kind: Kind, count: number) => {
    for (let request = 0; request < count; request++) {
      const answered = await requests.send(pathOf(store, kind), randomUUID());
      took[kind].push(answered.tookMs);
      for (const what of wrongIn(answered)) seen.wrong.add(`${kind}: ${what}`);
    }
  };
  // All callers do the same for a moment, and then the next: of requests of several kinds that a service answers at the same time, those
  // with fewer steps are always served first, and the others wait for them. What disturbs the machine disturbs all alike.
  for (let turn = 0; turn * AT_A_TIME < requestsEach; turn++) {
    const count = Math.min(AT_A_TIME, requestsEach - turn * AT_A_TIME);
    for (let step = 0; step < kinds.length; step++) {
      const kind = kinds[(turn + step) % kinds.length] as Kind;
      await Promise.all(Array.from({ length: callers }, () => caller(kind, count)));
    }
  }
  for (const what of await wrongReplay(requests, pathOf(store, 'guarded'))) seen.wrong.add(what);

  const median = (kind: Kind) => spreadOf(took[kind])?.median ?? Number.NaN;
  const [plain, byHand, guarded] = [median('plain'), median('store'), median('guarded')];
  return {
    figures: {
      'plain ms': plain,
      'store ms': byHand,
      'guarded ms': guarded,
      [OVERHEAD]: byHand > plain ? (guarded - plain) / (byHand - plain) : null,
    },
    failures: {},
    wrong: [...seen.wrong],
    firstError: null,
  };
}

function wrongIn({ status, headers, body }: Answered): string[] {
  return [
    ...(status === 200 || status === 201 ? [] : [`answered ${status}: ${body}`]),
    ...(headers['idempotency-replayed'] === undefined ? [] : ['a fresh request was answered by a replay']),
  ];
}

/** The guard must be one. */
async function wrongReplay(requests: Requests, path: string): Promise<string[]> {
  const key = randomUUID();
  const first = await requests.send(path, key);
  const second = await requests.send(path, key);
  return [
    ...(second.headers['idempotency-replayed'] === 'true' ? [] : ['the same request was not replayed']),
    ...(second.body === first.body ? [] : ['a replay has other bytes']),
  ];
}
