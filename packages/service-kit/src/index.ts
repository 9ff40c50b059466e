export { type RunningService, runService } from './run-service.ts';
export { readSettings, SettingsError } from './settings.ts';
export { createStrictServer, type StrictServer, type StrictServerOptions } from './strict-server.ts';
