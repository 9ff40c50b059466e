import { get } from 'node:http';

/**
 * Resolves when `url` answers with `status`, and rejects with anything else.
 *
 * Each probe has a connection of its own: one that is kept alive would say nothing about the next.
 */
export function probeHttp(url: string, status: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, signal }, (response) => {
      response.resume();
      if (response.statusCode === status) resolve();
      else reject(new Error(`${url} answered ${response.statusCode}`));
    });
    request.once('error', reject);
  });
}
