/** A store as it may be printed and kept: without the credentials of its URL. */
export function withoutCredentials(store: string): string {
  if (!URL.canParse(store)) return store.replace(/\/\/[^@]*@/, '//');
  const { protocol, host, pathname } = new URL(store);
  return `${protocol}//${host}${pathname}`;
}
