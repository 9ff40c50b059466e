import { runService, SettingsError } from '@pawl/service-kit';
import { readConfig } from './config.ts';
import { createSandbox } from './sandbox.ts';

await runService(async () => {
  const config = readConfig();
  const sandbox = await createSandbox(config).catch((error: unknown) => {
    const { code } = error as { code?: unknown };
    if (code === 'EADDRINUSE') throw new SettingsError([`PORT ${config.port} is taken on ${config.host}`]);
    if (code === 'ENOENT' || code === 'EISDIR' || code === 'EACCES')
      throw new SettingsError([`LEDGER_FILE cannot be opened: ${String(error)}`]);
    throw error;
  });
  // With PORT=0 this line is how the starter learns where to call.
  process.stdout.write(`payment-sandbox listening on ${sandbox.url}\n`);
  return sandbox;
});
