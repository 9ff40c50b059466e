import { writeFileSync } from 'node:fs';
import { settingsPage } from './deploy/settings-page.ts';

/** `npm run settings`: writes the table of all settings, from the schemas that the services read them by. */
writeFileSync('deploy/SETTINGS.md', settingsPage());
