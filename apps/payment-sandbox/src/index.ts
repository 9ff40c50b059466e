export type { Clock } from './clock.ts';
export type { LedgerEvent } from './events.ts';
export { LedgerError, type LedgerErrorCode } from './ledger.ts';
export type { Mode, SandboxOptions } from './options.ts';
export { createSandbox, type Sandbox } from './sandbox.ts';
