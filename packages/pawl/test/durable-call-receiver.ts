import type {
  Compensating,
  CompensationFound,
  CompensationSent,
  Found,
  OutwardCall,
  Sent,
} from '../src/index.ts';

/** What is sent: the parcel that a courier is booked for. */
export type ParcelRequest = { readonly parcel: string };
/** What comes of it. */
export type Booking = { readonly booking: number };

type Asked = OutwardCall<ParcelRequest> | Compensating<ParcelRequest, Booking>;

interface Answers {
  send: Sent<Booking>;
  'look-up': Found<Booking>;
  cancel: CompensationSent;
  'look-up-cancel': CompensationFound;
}

/** What a message is answered with, and when. `honestly` does what the receiver would have done, and tells it. */
type Script<What extends keyof Answers> = (
  honestly: () => Answers[What],
  call: Asked,
) => Answers[What] | Promise<Answers[What]>;

/**
 * A courier service that the test has in its hand: messages are met with what was scripted for their kind, in that order, and
 * honestly when nothing is.
 */
export class Receiver {
  /** What has arrived, in order: `send parcel-1:1`. */
  readonly heard: string[] = [];
  readonly #honoursTokens: boolean;
  readonly #bookings: { readonly token: string; readonly parcel: string; canceled: number }[] = [];
  readonly #cancelTokens = new Set<string>();
  readonly #scripts: { [What in keyof Answers]: Script<What>[] } = {
    send: [],
    'look-up': [],
    cancel: [],
    'look-up-cancel': [],
  };

  /** @param honoursTokens  Whether what comes again under its token has no second effect. */
  constructor(honoursTokens: boolean) {
    this.#honoursTokens = honoursTokens;
  }

  /** What the next messages of this kind are met with, one after another. */
  script<What extends keyof Answers>(what: What, ...scripts: Script<What>[]): void {
    this.#scripts[what].push(...scripts);
  }

  /** Bookings that were ever made of a parcel. */
  made(parcel: string): number {
    return this.#bookings.filter((one) => one.parcel === parcel).length;
  }

  /** Those that stand now. */
  standing(parcel: string): number {
    return this.#bookings.filter((one) => one.parcel === parcel && one.canceled === 0).length;
  }

  /** Cancellations that had an effect of their own. */
  canceled(parcel: string): number {
    return this.#bookings
      .filter((one) => one.parcel === parcel)
      .reduce((sum, { canceled }) => sum + canceled, 0);
  }

  send = (call: OutwardCall<ParcelRequest>): Promise<Sent<Booking>> =>
    this.#meet('send', call, () => ({ outcome: 'done', value: { booking: this.#book(call) } }));

  lookUp = (call: OutwardCall<ParcelRequest>): Promise<Found<Booking>> =>
    this.#meet('look-up', call, () => {
      const booking = this.#bookings.findIndex(({ token }) => token === call.token) + 1;
      return booking > 0 ? { outcome: 'done', value: { booking } } : { outcome: 'not-found' };
    });

  cancel = (call: Compensating<ParcelRequest, Booking>): Promise<CompensationSent> =>
    this.#meet('cancel', call, () => {
      const booking = this.#bookings[call.value.booking - 1];
      const isRepeated = this.#honoursTokens && this.#cancelTokens.has(call.token);
      this.#cancelTokens.add(call.token);
      if (booking !== undefined && !isRepeated) booking.canceled++;
      return { outcome: 'done' };
    });

  lookUpCancel = (call: Compensating<ParcelRequest, Booking>): Promise<CompensationFound> =>
    this.#meet('look-up-cancel', call, () => {
      const booking = this.#bookings[call.value.booking - 1];
      return { outcome: booking?.canceled === 0 ? 'standing' : 'done' };
    });

  /** @returns its number, from 1. */
  #book({ token, request }: OutwardCall<ParcelRequest>): number {
    const known = this.#bookings.findIndex((one) => one.token === token) + 1;
    if (this.#honoursTokens && known > 0) return known;
    return this.#bookings.push({ token, parcel: request.parcel, canceled: 0 });
  }

  async #meet<What extends keyof Answers>(
    what: What,
    call: Asked,
    honestly: () => Answers[What],
  ): Promise<Answers[What]> {
    this.heard.push(`${what} ${call.token}`);
    const script = this.#scripts[what].shift() as Script<What> | undefined;
    return script === undefined ? honestly() : script(honestly, call);
  }
}
