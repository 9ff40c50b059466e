/** A store as it may be printed and kept: without the credentials and parameters of its URL. */
export function withoutCredentials(store: string): string {
  const url = URL.canParse(store) ? new URL(store) : undefined;
  if (url !== undefined && url.host !== '') return `${url.protocol}//${url.host}${url.pathname}`;
  // Where the password is in what is no URL, nobody knows.
  return store.replace(/:.*/s, '://');
}
