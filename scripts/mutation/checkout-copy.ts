import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, readlink, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Copies a checkout as it is in the working tree, without what git ignores, so that its files can be changed and its
 * tests run. `to` is created.
 *
 * Packages that were installed are links to the original's. A workspace among them (`node_modules/pawl`) is the copy's own:
 * npm has linked it by a relative path, and the same link leads into the copy. Caches are not shared.
 */
export async function copyCheckout(root: string, to: string): Promise<void> {
  const files = await filesOf(root);
  for (const folder of new Set(files.map(dirname))) await mkdir(join(to, folder), { recursive: true });
  for (const file of files) await unlessMissing(copyFile(join(root, file), join(to, file)));
  for (const file of files.filter((name) => /(^|\/)package\.json$/.test(name))) {
    const installed = join(dirname(file), 'node_modules');
    await unlessMissing(linkPackages(join(root, installed), join(to, installed)));
  }
}

async function filesOf(root: string): Promise<string[]> {
  const listing = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const { stdout } = await promisify(execFile)('git', listing, { cwd: root });
  return stdout.split('\0').filter((file) => file !== '');
}

async function linkPackages(from: string, to: string): Promise<void> {
  const entries = await readdir(from, { withFileTypes: true });
  await mkdir(to);
  for (const entry of entries) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
    else if (entry.name.startsWith('@')) await linkPackages(source, target);
    else if (!entry.name.startsWith('.')) await symlink(source, target);
  }
}

/** A file that was deleted and not committed is still listed, and most packages have nothing installed of their own. */
async function unlessMissing(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
