import { readFile } from 'node:fs/promises';
import { ClusterSetupError } from './errors.ts';

/** Whom a server runs as that refuses, or had better refuse, to run as root. */
export interface UnprivilegedUser {
  name: string;
  uid: number;
  gid: number;
  group: string;
}

/**
 * The user `nobody` when the lab runs as root, undefined when it does not. No system user is ever created.
 *
 * @throws ClusterSetupError  NO_UNPRIVILEGED_USER: it runs as root, and the machine has no such user.
 */
export async function unprivilegedUser(): Promise<UnprivilegedUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const nobody = (await records('/etc/passwd')).find(([name]) => name === 'nobody');
  const [name, , uid, gid] = nobody ?? [];
  const group = (await records('/etc/group')).find(([, , id]) => id !== undefined && id === gid)?.[0];
  if (name === undefined || group === undefined) {
    throw new ClusterSetupError(
      'NO_UNPRIVILEGED_USER',
      'database servers refuse to run as root, and this machine has no user "nobody" to run them as; ' +
        'start the lab as an ordinary user',
    );
  }
  return { name, uid: Number(uid), gid: Number(gid), group };
}

async function records(file: string): Promise<string[][]> {
  return (await readFile(file, 'utf8')).split('\n').map((line) => line.split(':'));
}
