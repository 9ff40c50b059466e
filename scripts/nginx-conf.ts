import { writeFileSync } from 'node:fs';
import { containerNginxConf } from './deploy/front-door.ts';

/** `npm run nginx-conf`: writes the front door's configuration for containers. */
writeFileSync('deploy/nginx.conf', containerNginxConf());
