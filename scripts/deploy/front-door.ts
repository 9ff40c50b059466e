import { nginxConfiguration } from '../../packages/race-lab/src/cluster/nginx-configuration.ts';

/** The instances of `deploy/compose.yaml`, in the order of the rotation. */
export const INSTANCES = ['lotto-back-1', 'lotto-back-2', 'lotto-back-3', 'lotto-back-4'] as const;
/** The port of each, and of nginx, within its container. */
export const CONTAINER_PORT = 8080;

/** `deploy/nginx.conf`: the front door that the lab writes for itself, as it is in a container. */
export function containerNginxConf(): string {
  const configuration = nginxConfiguration({
    listen: String(CONTAINER_PORT),
    upstreams: INSTANCES.map((name) => `${name}:${CONTAINER_PORT}`),
  });
  return `# Made by "npm run nginx-conf" from packages/race-lab/src/cluster/nginx-configuration.ts: what "npm start" runs too.\n${configuration}`;
}
