/** Whoever listens must not change what happens, be it by throwing or by rejecting: there is nobody to tell. */
export function quiet<Event>(onEvent: (event: Event) => unknown): (event: Event) => void {
  return (event) => {
    try {
      const told = onEvent(event);
      // Few of them give a promise, and each is called for every operation.
      if (isThenable(told)) void Promise.resolve(told).catch(() => undefined);
    } catch {
      // There is nobody to tell.
    }
  };
}

function isThenable(told: unknown): told is PromiseLike<unknown> {
  return typeof told === 'object' && told !== null && 'then' in told && typeof told.then === 'function';
}
