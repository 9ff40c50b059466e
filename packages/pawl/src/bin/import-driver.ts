import { CommandError } from './command-error.ts';

/**
 * The driver that `load` imports: drivers are optional peers, of which the user installs the one that is needed.
 *
 * @throws CommandError  `FAILED`: it is not installed.
 */
export async function importDriver<Driver>(name: string, load: () => Promise<Driver>): Promise<Driver> {
  try {
    return await load();
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
    if (!missing) throw error;
    throw new CommandError('FAILED', `the driver ${name} is not installed: npm install ${name}`, {
      cause: error,
    });
  }
}
