/** Work that goes on when its client has gone: the end of the service waits for work, not for clients. */
export interface UnderWay {
  /** The same work, which is waited for. */
  untilDone<Request, Outcome>(
    work: (request: Request) => Promise<Outcome>,
  ): (request: Request) => Promise<Outcome>;
  /** Resolves when all of it has ended that has begun by now, well or not. */
  ended(): Promise<unknown>;
}

export function underWay(): UnderWay {
  const working = new Set<Promise<unknown>>();
  return {
    untilDone: (work) => (request) => {
      const one = work(request);
      const ended: Promise<unknown> = one.then(
        () => working.delete(ended),
        () => working.delete(ended),
      );
      working.add(ended);
      return one;
    },
    ended: () => Promise.all(working),
  };
}
