import type { OpenRedisPort } from '../../src/conformance/index.ts';
import { openIoredis } from './ioredis.ts';

/** Broken: a connection that is lost has no successor. */
export const open: OpenRedisPort = (server) => openIoredis(server, { retryStrategy: () => null });
