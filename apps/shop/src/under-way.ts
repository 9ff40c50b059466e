/** Work that goes on when its client has gone: the end of the service waits for work, not for clients. */
export interface UnderWay {
  /** The same work, which is waited for. */
  untilDone<Request, Outcome>(
    work: (request: Request) => Promise<Outcome>,
  ): (request: Request) => Promise<Outcome>;
  /** Resolves when all of it has ended, well or not. */
  ended(): Promise<void>;
}

export function underWay(): UnderWay {
  let working = 0;
  let waiting: (() => void)[] = [];
  const end = () => {
    working--;
    if (working > 0) return;
    for (const goOn of waiting) goOn();
    waiting = [];
  };
  return {
    untilDone: (work) => (request) => {
      const one = work(request);
      working++;
      one.then(end, end);
      return one;
    },
    ended: () =>
      new Promise((resolve) => {
        if (working === 0) resolve();
        else waiting.push(resolve);
      }),
  };
}
