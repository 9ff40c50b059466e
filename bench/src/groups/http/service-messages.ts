import type { ServerUrls } from '../../servers.ts';
import type { FrameworkName } from './subjects.ts';

/** To a service: what it is to serve. */
export interface ServeOrder {
  readonly framework: FrameworkName;
  readonly urls: ServerUrls;
}

/** Its answer. */
export interface Serving {
  readonly port: number;
}
