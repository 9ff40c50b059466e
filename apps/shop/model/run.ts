import { type Client, confirm, reconcileOnce } from './activities.ts';
import { intervene, meet } from './interventions.ts';
import { billText, isBill, type Violation } from './invariants.ts';
import { Play, type Setting } from './play.ts';
import type { Schedule } from './schedule.ts';

/** Beyond it, nothing settles any more. */
const MOST_STEPS = 1_500;

export interface Ran {
  readonly violation: Violation | undefined;
  readonly steps: number;
  /** What happened, line by line, if it was asked for. */
  readonly trace: readonly string[];
}

/** Runs a schedule to its end, and fairly beyond it until all is quiet; judges it on the way, and then. */
export async function runSchedule(
  { configuration, interventions }: Schedule,
  setting: Setting = {},
): Promise<Ran> {
  const play = new Play(configuration, setting);
  const { world } = play;
  const { invariants } = world;
  const paying: Client[] = [];
  // One after the other, whenever all is quiet.
  const endings = [
    () => askOnceMore(play, () => true),
    // Whose last claim only recovery could settle.
    () => askOnceMore(play, isLeft),
    () => paying.push(...payWhatWasReleased(play)),
    ...(configuration.hasOutsider ? [() => reconcileAtLast(play)] : []),
  ];
  let next = 0;
  let wait = interventions[0]?.after ?? 0;
  while (invariants.violation === undefined) {
    const action = play.fair();
    if (action === undefined) {
      if (play.thaw()) continue;
      next = interventions.length;
      play.expected.length = 0;
      const ending = endings.shift();
      if (ending === undefined) break;
      ending();
      continue;
    }
    const intervention = interventions[next];
    const expected = action.kind === 'arrive' ? play.expected.shift() : undefined;
    if (action.kind === 'arrive' && expected !== undefined) {
      await meet(play, action.message, expected);
    } else if (intervention === undefined || wait-- > 0) {
      await play.do(action);
    } else {
      next++;
      wait = interventions[next]?.after ?? 0;
      await intervene(play, action, intervention.pick);
    }
    if (world.bug !== undefined) throw world.bug.cause;
    if (play.steps > MOST_STEPS) invariants.broken('I8', 'it never comes to rest');
  }
  if (invariants.violation === undefined) judgeRest(play, paying);
  return { violation: invariants.violation, steps: play.steps, trace: play.trace ?? [] };
}

/** Whoever has an answer gets the same bytes again, and nobody is left without one. */
function askOnceMore({ clients, scripts, world }: Play, whom: (client: Client) => boolean): void {
  for (const client of clients.filter(whom)) scripts.push({ begin: () => confirm(world, client) });
}

/** Neither answered nor turned away for good. */
function isLeft({ answer, heard }: Client): boolean {
  return answer === undefined && heard !== 'wrong-state' && heard !== 'payload-mismatch';
}

/** With a payment key that the provider accepts. */
function payWhatWasReleased(play: Play): readonly Client[] {
  const { rows } = play.world;
  if (rows.isDrawn) return [];
  const released = [...rows.orders.all()].filter(
    ({ status, attempt }) => status === 'WAITING' && attempt > 1,
  );
  return released.map(({ orderId }) => play.addFreshClient(orderId, `last client of ${orderId}`));
}

/** By then its captures are to be seen, and whatever could settle them has done so. */
function reconcileAtLast(play: Play): void {
  const { clock, configuration } = play.world;
  play.advance(clock.now + configuration.lookUpLagMs);
  play.scripts.push({ begin: () => reconcileOnce(play.world, 'last reconciliation') });
}

function judgeRest({ world, clients }: Play, paying: readonly Client[]): void {
  const { invariants, provider, rows, store } = world;
  invariants.judgeRest(provider.payments.values(), rows, store);
  for (const client of clients.filter(isLeft)) {
    invariants.broken('I8', `${client.name} hears ${client.heard} for ever`);
  }
  const paid = [...rows.purchases.all()].filter(({ isPaid }) => isPaid).map(({ bill }) => billText(bill));
  for (const { name, wish, answer } of clients) {
    const isBilled = answer !== undefined && isBill(answer);
    if (isBilled && !world.takenBack.has(wish.orderId) && !paid.includes(answer))
      invariants.broken('I6', `${name} was given ${answer}, which is no more`);
  }
  for (const { name, answer } of paying) {
    if (answer === undefined || !isBill(answer))
      invariants.broken('charged after a release', `${name} was told "${answer}"`);
  }
}
