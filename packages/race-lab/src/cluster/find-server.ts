import { constants } from 'node:fs';
import { access, realpath } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join } from 'node:path';

/** Whether a program is installed, and if not, how to install it. */
export type Found = { found: true; path: string } | { found: false; install: string };

/** Looks for the first of several programs that do the same job. */
export type FindServer = (server: ServerPackage) => Promise<Found>;

/** A server that the lab uses when it is there. */
export interface ServerPackage {
  /** Its programs, preferred one first. */
  programs: readonly string[];
  /** What it does not work without, installed beside it; absent: nothing. */
  alongside?: readonly string[];
  /** The packages that bring it all. */
  debian: readonly string[];
  homebrew: string;
}

/** Where servers live that an ordinary user's PATH leaves out. */
const SERVER_FOLDERS = ['/usr/sbin', '/usr/local/sbin'];

/** @param searchPath  Folders to look in first, as PATH names them. */
export function serverFinder(
  searchPath: string,
  otherFolders: readonly string[] = SERVER_FOLDERS,
): FindServer {
  // A relative folder would mean another program in every working directory.
  const folders = [...searchPath.split(delimiter).filter(isAbsolute), ...otherFolders];
  return async ({ programs, alongside = [], debian, homebrew }) => {
    for (const program of programs) {
      for (const folder of folders) {
        const path = join(folder, program);
        if (!(await isExecutable(path))) continue;
        const others = await Promise.all(alongside.map((other) => besideServer(path, other)));
        if (!others.includes(undefined)) return { found: true, path };
      }
    }
    const install =
      process.platform === 'darwin' ? `brew install ${homebrew}` : `sudo apt-get install ${debian.join(' ')}`;
    return { found: false, install };
  };
}

/**
 * The path of a program that was installed together with a server, undefined when it was not.
 *
 * @param server  Absolute, and there.
 */
export async function besideServer(server: string, program: string): Promise<string | undefined> {
  // Packages part sbin and bin; a tar archive keeps scripts apart, and may be linked to from elsewhere.
  const folder = dirname(await realpath(server));
  for (const place of ['.', '../bin', '../scripts']) {
    const path = join(folder, place, program);
    if (await isExecutable(path)) return path;
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false; // Absent or not ours to run: for us it is not there.
  }
}
