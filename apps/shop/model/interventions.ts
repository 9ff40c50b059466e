import { confirm } from './activities.ts';
import type { Action, Play } from './play.ts';
import type { Actor, Message } from './scheduler.ts';

/** What an intervention does; some are tried more often than others. */
const kinds = [
  'freeze',
  'freeze',
  'switch',
  'switch',
  'switch',
  'switch',
  'message',
  'message',
  'message',
  'message',
  'fault',
  'crash',
  'crash',
  'clock',
  'clock',
  'draw',
] as const;

/** In place of the fair `action`, or before it. What cannot be done here is not done. */
export async function intervene(play: Play, action: Action, pick: number): Promise<void> {
  const { world } = play;
  const kind = kinds[pick % kinds.length];
  const which = Math.floor(pick / kinds.length);
  switch (kind) {
    case 'freeze':
      return freeze(play, action);
    case 'switch':
      return go(play, action, which);
    case 'fault':
      return fail(play, action, which);
    case 'crash':
      return crash(play, action);
    case 'message':
      play.expected.push(which);
      return;
    case 'clock':
      return later(play, which);
    case 'draw':
      if (world.rows.isDrawn) return;
      world.rows.draw();
      world.counts.saw('round drawn');
      play.note(() => 'the round is drawn');
      return;
  }
}

/** It stands still until everything else is quiet, or a switch wakes it. */
function freeze({ world }: Play, action: Action): void {
  if (action.kind === 'begin') return;
  const entity = action.kind === 'step' ? action.actor : action.message;
  entity.isFrozen = true;
  world.counts.saw(action.kind === 'step' ? 'process stands still' : 'message on its way for long');
}

async function go(play: Play, fair: Action, which: number): Promise<void> {
  const { world } = play;
  const choices: Action[] = [];
  for (const actor of play.actors) {
    if (actor.step !== undefined && !(fair.kind === 'step' && fair.actor === actor))
      choices.push({ kind: 'step', actor });
  }
  for (const message of world.messages) {
    if (!(fair.kind === 'arrive' && fair.message === message)) choices.push({ kind: 'arrive', message });
    if (message.answer !== undefined) choices.push({ kind: 'time-out', message });
  }
  for (const script of play.scripts) choices.push(play.begin(script));
  for (const client of play.clients) {
    if (play.mayAskAgain(client)) choices.push({ kind: 'begin', begin: () => confirm(world, client) });
  }
  const recovery = play.recovery();
  if (recovery !== undefined) choices.push(recovery, recovery);
  const chosen = choices[which % choices.length];
  if (chosen === undefined) return;
  if (chosen.kind === 'step') chosen.actor.isFrozen = false;
  world.counts.saw('switch');
  await play.do(chosen);
}

async function fail(play: Play, action: Action, which: number): Promise<void> {
  if (action.kind !== 'step') return;
  const faults = action.actor.step?.faults ?? [];
  const fault = faults[which % faults.length];
  if (fault === undefined) return;
  play.world.counts.saw(`fault: ${fault}`);
  await play.do(action, fault);
}

function crash({ world, trace }: Play, action: Action): void {
  const actor = actorOf(action);
  if (actor === undefined || actor.hasEnded) return;
  trace?.push(`${actor.name} dies${actor.step === undefined ? '' : ` before it ${actor.step.label}`}`);
  actor.die();
  world.counts.saw('crash');
}

/** What was wanted of the next message that arrives: that it goes wrong there, or that its sender waits no longer. */
export async function meet(play: Play, message: Message, which: number): Promise<void> {
  const { world } = play;
  const fault = message.faults[which % (message.faults.length + 2)];
  if (fault !== undefined) {
    world.counts.saw(`fault: ${fault}`);
    return play.do({ kind: 'arrive', message }, fault);
  }
  if (message.answer === undefined) return;
  // It arrives next, or long after.
  message.isFrozen = which % 2 === 1;
  await play.do({ kind: 'time-out', message });
}

/** To the next moment at which anything changes, or one of those after it. */
function later(play: Play, which: number): void {
  const { clock, store, provider, configuration } = play.world;
  const moments: number[] = [];
  const add = (moment: number | undefined) => {
    if (moment !== undefined && moment > clock.now) moments.push(moment);
  };
  for (const { leaseUntil, finalAfter, isSettled } of store.records.all()) {
    add(leaseUntil);
    if (!isSettled) add(finalAfter);
  }
  for (const { endsAt, captures } of provider.payments.values()) {
    add(endsAt);
    for (const { at, refundedAt } of captures) {
      add(at + configuration.lookUpLagMs);
      if (refundedAt !== undefined) add(refundedAt + configuration.lookUpLagMs);
    }
  }
  const sorted = [...new Set(moments)].sort((a, b) => a - b);
  const moment = sorted[which % sorted.length];
  if (moment !== undefined) play.advance(moment);
}

function actorOf(action: Action): Actor | undefined {
  if (action.kind === 'begin') return undefined;
  return action.kind === 'step' ? action.actor : action.message.sender;
}
