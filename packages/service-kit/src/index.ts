export { adoptRoutes, type RegisteredRoute } from './route-rules.ts';
export { type RunningService, runService } from './run-service.ts';
export { readSettings, ruleOf, SettingsError } from './settings.ts';
export { createStrictServer, type StrictServer, type StrictServerOptions } from './strict-server.ts';
