import { readSettings, SettingsError } from '@pawl/service-kit';
import { Type } from 'typebox';
import { isLoopback } from './auth.ts';
import { defaults, modes, type SandboxOptions } from './options.ts';

const MAX_LATENCY_MS = 600_000;
const logLevels = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;

const Settings = Type.Object({
  HOST: Type.String({ default: defaults.host }),
  PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: defaults.port }),
  SECRET_KEY: Type.String({ default: defaults.secretKey }),
  LEDGER_FILE: Type.String({ description: 'the path of the ledger file' }),
  MODE: Type.Union(
    modes.map((mode) => Type.Literal(mode)),
    { default: defaults.mode },
  ),
  LATENCY_MIN_MS: Type.Integer({ minimum: 0, maximum: MAX_LATENCY_MS, default: defaults.latencyMinMs }),
  LATENCY_MAX_MS: Type.Integer({ minimum: 0, maximum: MAX_LATENCY_MS, default: defaults.latencyMaxMs }),
  SEED: Type.Integer({ minimum: 0, maximum: 0xffff_ffff, default: defaults.seed }),
  AUTO_SESSION: Type.Optional(Type.Boolean()),
  SESSION_MS: Type.Integer({ minimum: 1, maximum: 86_400_000, default: defaults.sessionMs }),
  REPLAY_ERRORS: Type.Boolean({ default: defaults.replayErrors }),
  ALREADY_PROCESSED_GUARD: Type.Boolean({ default: defaults.alreadyProcessedGuard }),
  LOG_LEVEL: Type.Union(
    logLevels.map((level) => Type.Literal(level)),
    { default: defaults.logLevel },
  ),
});

/** @throws SettingsError  Names every setting that the sandbox cannot run with. */
export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): SandboxOptions & { host: string; port: number } {
  const settings = readSettings(Settings, env);
  const problems: string[] = [];
  if (!isLoopback(settings.HOST))
    problems.push(`HOST must be a loopback address, got ${JSON.stringify(settings.HOST)}`);
  if (settings.LATENCY_MIN_MS > settings.LATENCY_MAX_MS)
    problems.push(
      `LATENCY_MIN_MS must be at most LATENCY_MAX_MS (${settings.LATENCY_MAX_MS}), got ${settings.LATENCY_MIN_MS}`,
    );
  if (problems.length > 0) throw new SettingsError(problems);
  return {
    host: settings.HOST,
    port: settings.PORT,
    secretKey: settings.SECRET_KEY,
    ledgerFile: settings.LEDGER_FILE,
    mode: settings.MODE,
    latencyMinMs: settings.LATENCY_MIN_MS,
    latencyMaxMs: settings.LATENCY_MAX_MS,
    seed: settings.SEED,
    ...(settings.AUTO_SESSION === undefined ? {} : { autoSession: settings.AUTO_SESSION }),
    sessionMs: settings.SESSION_MS,
    replayErrors: settings.REPLAY_ERRORS,
    alreadyProcessedGuard: settings.ALREADY_PROCESSED_GUARD,
    logLevel: settings.LOG_LEVEL,
  };
}
