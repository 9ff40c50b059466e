import {
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { instructionsOf } from '../../scripts/deploy/dockerfile.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

interface Lockfile {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

interface LockedPackage {
  readonly link?: boolean;
  readonly resolved?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

/**
 * Lays out in an empty `folder` what the image of `deploy/Dockerfile` holds: what it copies, and the packages that its `npm ci`
 * installs, taken from the checkout. Nothing else is to be found there, so what starts from it needs nothing else.
 */
export function layOutImage(folder: string): void {
  const instructions = instructionsOf(readFileSync(join(root, 'deploy/Dockerfile'), 'utf8'));
  const sources = instructions
    .filter(({ keyword, words }) => keyword === 'COPY' && !words.some((word) => word.startsWith('--from=')))
    .flatMap(({ words }) => words.slice(0, -1));
  const install = instructions.find(({ keyword, words }) => keyword === 'RUN' && words[0] === 'npm');
  const workspaces = (install?.words ?? [])
    .filter((word) => word.startsWith('--workspace='))
    .map((word) => word.slice('--workspace='.length));
  const lockfile = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lockfile;
  for (const path of [...sources, ...installedFor(lockfile, workspaces)]) place(path, folder);
}

/** Where `npm ci --omit=dev` for these workspaces installs something. */
function installedFor({ packages }: Lockfile, workspaces: readonly string[]): string[] {
  const found = new Set<string>();
  const visit = (path: string) => {
    if (found.has(path)) return;
    found.add(path);
    const { link, resolved = '' } = packages[path] ?? {};
    const from = link ? resolved : path;
    const { dependencies = {}, peerDependencies = {}, peerDependenciesMeta = {} } = packages[from] ?? {};
    const peers = Object.keys(peerDependencies).filter((name) => !peerDependenciesMeta[name]?.optional);
    for (const name of [...Object.keys(dependencies), ...peers]) {
      const path = nearest(packages, from, name);
      if (path === undefined) throw new Error(`${from} needs ${name}, which the lockfile does not have`);
      visit(path);
    }
  };
  for (const name of workspaces) visit(`node_modules/${name}`);
  return [...found];
}

/** As Node looks for a package: beside, and then in each folder above. */
function nearest(packages: Lockfile['packages'], from: string, name: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = folder === '.' ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (path in packages) return path;
    if (folder === '.') return undefined;
  }
}

/** Packages within a package are placed for themselves, where they are installed at all. */
function place(path: string, folder: string): void {
  const from = join(root, path);
  const to = join(folder, path);
  const found = lstatSync(from);
  mkdirSync(dirname(to), { recursive: true });
  if (found.isSymbolicLink()) symlinkSync(readlinkSync(from), to);
  else if (found.isFile()) linkOrCopy(from, to);
  else {
    for (const name of readdirSync(from)) {
      if (name !== 'node_modules') place(`${path}/${name}`, folder);
    }
  }
}

/** Another name for the same file, where both are on one file system. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    copyFileSync(from, to);
  }
}
