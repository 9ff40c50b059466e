/** How a step may go wrong, when a schedule wants it to. */
export type StepFault =
  /** The store reports that nothing was done. */
  | 'store-fails'
  /** The store rolls it back, and it runs again. */
  | 'store-conflict'
  /** The store has done it, and its answer is lost. */
  | 'store-answer-lost'
  /** No connection comes about. */
  | 'not-sent'
  /** Nothing is heard, although it may have happened. */
  | 'no-answer';

/** A line at which a process stands until the schedule lets it go on. */
export interface Step {
  readonly label: string;
  readonly faults: readonly StepFault[];
  goOn(fault?: StepFault): void;
}

const none: readonly StepFault[] = [];

/** A process: it does one thing after the other, and may stand still or die before each. */
export class Actor {
  readonly name: string;
  /** What it stands at. */
  step: Step | undefined;
  /** The message whose answer it waits for. */
  awaiting: Message | undefined;
  isFrozen = false;
  hasEnded = false;

  constructor(name: string) {
    this.name = name;
  }

  /** @returns how the step went wrong, if it did. It never resolves in a process that has died. */
  at(label: string, faults: readonly StepFault[] = none): Promise<StepFault | undefined> {
    return new Promise((resolve) => {
      this.step = {
        label,
        faults,
        goOn: (fault) => {
          this.step = undefined;
          resolve(fault);
        },
      };
    });
  }

  /** Sends a message; it arrives whenever the schedule wants. */
  async post<Answer>(message: Message<Answer>): Promise<Answer | undefined> {
    const answer = new Promise<Answer | undefined>((resolve) => {
      message.answer = resolve;
    });
    this.awaiting = message as Message;
    return answer;
  }

  timeOut(): void {
    const message = this.awaiting;
    this.awaiting = undefined;
    message?.answer?.(undefined);
    if (message !== undefined) message.answer = undefined;
  }

  die(): void {
    this.hasEnded = true;
    this.step = undefined;
    if (this.awaiting !== undefined) this.awaiting.answer = undefined;
    this.awaiting = undefined;
  }

  runs(work: () => Promise<void>): this {
    void work().finally(() => {
      this.hasEnded = true;
    });
    return this;
  }
}

/** A request on its way to the provider. It outlives whoever sent it. */
export interface Message<Answer = unknown> {
  readonly label: string;
  readonly sender: Actor;
  readonly faults: readonly string[];
  isFrozen: boolean;
  /** The provider does what it asks. @returns undefined when it has only begun to. */
  arrive(fault: string | undefined): Answer | undefined;
  /** Where its answer goes, unless nobody waits for it any more. */
  answer: ((answer: Answer | undefined) => void) | undefined;
}

/** Until nobody can go on by himself. Promises alone drive the processes of the model, and Node runs them all before this. */
export function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
