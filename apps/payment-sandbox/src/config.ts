import { readSettings, SettingsError } from '@pawl/service-kit';
import { Type } from 'typebox';
import { isLoopback } from './auth.ts';
import { defaults, modes, type SandboxOptions } from './options.ts';

const MAX_LATENCY_MS = 600_000;
const logLevels = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;

export const settingsSchema = Type.Object({
  HOST: Type.String({
    default: defaults.host,
    description: 'The address to listen on: a loopback address, unless `DEMO_MODE=1`.',
  }),
  PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: defaults.port,
    description: 'The port to listen on; 0 takes a free one, and says which.',
  }),
  DEMO_MODE: Type.Boolean({
    default: false,
    description:
      'Allows a `HOST` that is no loopback address, for a container whose port only this machine can reach.',
  }),
  SECRET_KEY: Type.String({
    default: defaults.secretKey,
    description: 'The key that the shop shows with every request.',
  }),
  LEDGER_FILE: Type.String({
    rule: 'the path of the ledger file',
    description: 'Where every request and every movement of money is kept; continued when it is there.',
  }),
  MODE: Type.Union(
    modes.map((mode) => Type.Literal(mode)),
    {
      default: defaults.mode,
      description:
        'How a confirmation that is not the first is met: `as-published` with an error 500, `generous` with another capture, `toss` by idempotency keys and `ALREADY_PROCESSED_PAYMENT`.',
    },
  ),
  LATENCY_MIN_MS: Type.Integer({
    minimum: 0,
    maximum: MAX_LATENCY_MS,
    default: defaults.latencyMinMs,
    description: 'The shortest time that a confirmation or a cancellation takes, in milliseconds.',
  }),
  LATENCY_MAX_MS: Type.Integer({
    minimum: 0,
    maximum: MAX_LATENCY_MS,
    default: defaults.latencyMaxMs,
    description: 'The longest time that it takes, in milliseconds; not less than `LATENCY_MIN_MS`.',
  }),
  SEED: Type.Integer({
    minimum: 0,
    maximum: 0xffff_ffff,
    default: defaults.seed,
    description: 'Of all chance: of the latencies, and of whom a fault strikes.',
  }),
  AUTO_SESSION: Type.Optional(
    Type.Boolean({
      description:
        'Whether the first confirmation of an unknown payment key opens its payment window; by default in all modes but `toss`.',
    }),
  ),
  SESSION_MS: Type.Integer({
    minimum: 1,
    maximum: 86_400_000,
    default: defaults.sessionMs,
    description: 'How long a payment window lives unless its opener says otherwise, in milliseconds.',
  }),
  REPLAY_ERRORS: Type.Boolean({
    default: defaults.replayErrors,
    description: 'In mode `toss`: whether an error is answered again under its idempotency key.',
  }),
  ALREADY_PROCESSED_GUARD: Type.Boolean({
    default: defaults.alreadyProcessedGuard,
    description:
      'In mode `toss`: whether a confirmation of a captured payment is refused; otherwise it captures again.',
  }),
  LOG_LEVEL: Type.Union(
    logLevels.map((level) => Type.Literal(level)),
    { default: defaults.logLevel, description: 'From which level on log lines are written.' },
  ),
});

/** @throws SettingsError  Names every setting that the sandbox cannot run with. */
export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): SandboxOptions & { host: string; port: number } {
  const settings = readSettings(settingsSchema, env);
  const problems: string[] = [];
  if (!isLoopback(settings.HOST) && !settings.DEMO_MODE) {
    // Whoever reaches it may pay with anybody's order.
    problems.push(
      `HOST must be a loopback address, got ${JSON.stringify(settings.HOST)}; DEMO_MODE=1 allows it where only this machine gets in`,
    );
  }
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
