import { type Client, cancel, confirm, confirmFromOutside, reconcileOnce, recover } from './activities.ts';
import { MARGIN_MS, SESSION_MS } from './clock.ts';
import { Counts } from './counts.ts';
import { NOT_PAID } from './invariants.ts';
import type { Mutant } from './mutant.ts';
import type { Configuration, Wish } from './schedule.ts';
import { type Actor, type Message, type StepFault, settled } from './scheduler.ts';
import { isOver } from './store.ts';
import { World } from './world.ts';

/** Until all is quiet; then once more. */
const MOST_TRIES = 2;

/** Longer than a session, its margin and some leases: by then whoever takes over has done what he can. */
const LONGEST_STANDSTILL_MS = 2 * (SESSION_MS + MARGIN_MS);

/** Something that can be done next. */
export type Action =
  | { readonly kind: 'step'; readonly actor: Actor }
  | { readonly kind: 'arrive'; readonly message: Message }
  /** Its sender waits no longer. */
  | { readonly kind: 'time-out'; readonly message: Message }
  | { readonly kind: 'begin'; readonly begin: () => Actor };

/** How a schedule is run. */
export interface Setting {
  readonly mutant?: Mutant | undefined;
  /** Told of what is seen. */
  readonly counts?: Counts | undefined;
  readonly isTraced?: boolean;
}

/** What is begun once: by its turn, or when an intervention wants it earlier. */
interface Script {
  begin(): Actor;
}

/**
 * A world with everybody who acts in it, and the fair order of their steps: whoever is at it goes on, and his messages arrive at
 * once; then the others, then whoever has not begun; then recovery, clients that ask again, and at last the clock.
 */
export class Play {
  readonly world: World;
  readonly actors: Actor[] = [];
  readonly clients: Client[] = [];
  readonly scripts: Script[] = [];
  /** What the next messages that arrive are to meet, one each. */
  readonly expected: number[] = [];
  readonly trace: string[] | undefined;
  steps = 0;
  #current: Actor | undefined;
  #recoveries = 0;
  #waitsUntil = LONGEST_STANDSTILL_MS;
  #followed = 0;

  constructor(configuration: Configuration, { mutant, counts = new Counts(), isTraced = false }: Setting) {
    const world = new World(configuration, mutant, counts);
    this.world = world;
    this.trace = isTraced ? [] : undefined;
    for (const [index, wish] of configuration.wishes.entries()) this.addClient(`client ${index + 1}`, wish);
    if (configuration.hasOutsider) this.scripts.push({ begin: () => confirmFromOutside(world) });
    for (let index = 1; index <= configuration.cancels; index++)
      this.scripts.push({ begin: () => cancel(world, 'A', `cancel ${index}`) });
    for (let index = 1; index <= configuration.reconciliations; index++)
      this.scripts.push({ begin: () => reconcileOnce(world, `reconciliation ${index}`) });
  }

  addClient(name: string, wish: Wish): Client {
    const client: Client = {
      name,
      wish,
      tries: 0,
      asking: undefined,
      answer: undefined,
      heard: undefined,
      heardAt: undefined,
    };
    this.clients.push(client);
    this.scripts.push({ begin: () => confirm(this.world, client) });
    return client;
  }

  /** With a payment key of its own, whose window opens now. */
  addFreshClient(orderId: string, name: string): Client {
    const paymentKey = `key of ${name}`;
    this.world.provider.openSession(paymentKey, orderId, SESSION_MS, false);
    return this.addClient(name, { orderId, paymentKey });
  }

  /** What comes next if nobody intervenes. */
  fair(): Action | undefined {
    return (
      this.#nextOf(this.#current) ??
      this.#nextOfAny() ??
      this.#nextScript() ??
      this.recovery() ??
      this.#nextTry() ??
      this.#nextLease()
    );
  }

  async do(action: Action, fault?: string): Promise<void> {
    this.steps++;
    const wrong = fault === undefined ? '' : ` (${fault})`;
    switch (action.kind) {
      case 'begin': {
        const actor = action.begin();
        this.actors.push(actor);
        this.#current = actor;
        this.note(() => `${actor.name} begins`);
        break;
      }
      case 'step': {
        const { actor } = action;
        this.#current = actor;
        this.note(() => `${actor.name}: ${actor.step?.label}${wrong}`);
        actor.step?.goOn(fault as StepFault | undefined);
        break;
      }
      case 'arrive':
        this.note(() => `the provider gets the ${action.message.label}${wrong}`);
        this.#arrive(action.message, fault);
        break;
      case 'time-out': {
        const { sender, label } = action.message;
        this.note(() => `${sender.name}: waits no longer for the answer to the ${label}`);
        this.world.counts.saw('time-out');
        sender.timeOut();
        break;
      }
    }
    await settled();
    this.#afterwards();
  }

  note(line: () => string): void {
    this.trace?.push(line());
  }

  recovery(): Action | undefined {
    const { store, clock } = this.world;
    for (const { leaseUntil } of store.records.all()) {
      if (isOver(leaseUntil, clock.now)) return { kind: 'begin', begin: () => this.#recover() };
    }
    return undefined;
  }

  begin(script: Script): Action {
    const begin = () => {
      this.scripts.splice(this.scripts.indexOf(script), 1);
      return script.begin();
    };
    return { kind: 'begin', begin };
  }

  advance(to: number): void {
    this.world.clock.now = to;
    this.note(() => `the clock shows ${to}`);
  }

  mayAskAgain({ answer, tries }: Client): boolean {
    return answer === undefined && tries > 0 && tries < MOST_TRIES;
  }

  /** The first that stands still goes on. @returns whether there was any. */
  thaw(): boolean {
    const frozen = this.#firstFrozen();
    if (frozen === undefined) return false;
    frozen.isFrozen = false;
    this.#waitsUntil = this.world.clock.now + LONGEST_STANDSTILL_MS;
    return true;
  }

  #firstFrozen(): Actor | Message | undefined {
    return (
      this.actors.find(({ isFrozen }) => isFrozen) ?? this.world.messages.find(({ isFrozen }) => isFrozen)
    );
  }

  #nextOf(actor: Actor | undefined): Action | undefined {
    if (actor === undefined || actor.isFrozen) return undefined;
    if (actor.step !== undefined) return { kind: 'step', actor };
    const { awaiting } = actor;
    if (awaiting === undefined || awaiting.isFrozen) return undefined;
    return { kind: 'arrive', message: awaiting };
  }

  #nextOfAny(): Action | undefined {
    const actor = this.actors.find((candidate) => candidate.step !== undefined && !candidate.isFrozen);
    if (actor !== undefined) return { kind: 'step', actor };
    const message = this.world.messages.find(({ isFrozen }) => !isFrozen);
    return message && { kind: 'arrive', message };
  }

  #nextScript(): Action | undefined {
    const script = this.scripts[0];
    return script && this.begin(script);
  }

  #nextTry(): Action | undefined {
    const client = this.clients.find(
      (candidate) =>
        this.mayAskAgain(candidate) &&
        candidate.heardAt !== this.world.version &&
        (candidate.asking?.hasEnded || candidate.asking?.isFrozen),
    );
    return client && { kind: 'begin', begin: () => confirm(this.world, client) };
  }

  /** Only leases are waited for: nothing else comes about by itself. And not for ever, while anybody stands still. */
  #nextLease(): Action | undefined {
    if (this.world.clock.now >= this.#waitsUntil && this.#firstFrozen() !== undefined) return undefined;
    let end = Number.POSITIVE_INFINITY;
    for (const { leaseUntil } of this.world.store.records.all()) {
      if (leaseUntil !== undefined) end = Math.min(end, leaseUntil);
    }
    if (end === Number.POSITIVE_INFINITY) return undefined;
    const begin = () => {
      this.advance(end);
      return this.#recover();
    };
    return { kind: 'begin', begin };
  }

  #recover(): Actor {
    return recover(this.world, `recovery ${++this.#recoveries}`);
  }

  #arrive(message: Message, fault: string | undefined): void {
    const { counts, messages } = this.world;
    const { sender } = message;
    if (message.answer === undefined) counts.saw('arrived although nobody waited any more');
    const answer = message.arrive(fault);
    if (answer === undefined) {
      message.isFrozen = true;
      return;
    }
    messages.splice(messages.indexOf(message), 1);
    if (message.answer === undefined) return;
    sender.awaiting = undefined;
    message.answer(answer);
  }

  #afterwards(): void {
    for (let index = this.actors.length - 1; index >= 0; index--) {
      if (this.actors[index]?.hasEnded) this.actors.splice(index, 1);
    }
    const { configuration } = this.world;
    if (!configuration.triesAnother) return;
    for (; this.#followed < configuration.wishes.length; this.#followed++) {
      const client = this.clients[this.#followed];
      if (client?.answer !== NOT_PAID) return;
      this.addFreshClient(client.wish.orderId, `${client.name} again`);
    }
  }
}
