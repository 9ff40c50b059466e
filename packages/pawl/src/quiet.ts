/** Whoever listens must not change what happens, be it by throwing or by rejecting: there is nobody to tell. */
export function quiet<Event>(onEvent: (event: Event) => unknown): (event: Event) => void {
  return (event) => {
    void (async () => onEvent(event))().catch(() => undefined);
  };
}
