import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const LOCKFILE = 'package-lock.json';

interface LockedPackage {
  version?: string;
  optional?: boolean;
  dev?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

interface Lockfile {
  packages: Record<string, LockedPackage>;
}

interface Omission {
  path: string;
  parent: string;
  name: string;
  version: string;
}

/**
 * Optional packages that the lockfile leaves out.
 *
 * npm omits, without a word, the packages for other platforms whose manifests a registry could not serve; and then
 * `npm ci` refuses the lockfile as out of step, on every machine.
 */
function omissionsOf({ packages }: Lockfile): Omission[] {
  return Object.entries(packages).flatMap(([parent, { optionalDependencies = {} }]) =>
    Object.entries(optionalDependencies)
      .filter(([name]) => !placesFor(parent, name).some((place) => place in packages))
      .map(([name, version]) => ({ path: `node_modules/${name}`, parent, name, version })),
  );
}

/** Where Node looks for `name` from the package at `parent`, nearest first. */
function placesFor(parent: string, name: string): string[] {
  const places: string[] = [];
  for (
    let folder = parent;
    folder !== '';
    folder = folder.replace(/(^|\/)(node_modules\/(@[^/]+\/)?)?[^/]+$/, '')
  ) {
    places.push(`${folder}/node_modules/${name}`);
  }
  return [...places, `node_modules/${name}`];
}

/** Which machines a package is for, as its name says it: `…-linux-x64-musl`, `…-win32-arm64-msvc`. */
function platformOf(name: string): Pick<LockedPackage, 'os' | 'cpu' | 'libc'> {
  const match =
    /-(android|darwin|freebsd|linux|openharmony|win32)-(arm64|arm|ia32|ppc64|riscv64|s390x|x64)(-.*)?$/.exec(
      name,
    );
  if (match === null) throw new Error(`${name} does not say which platform it is for`);
  const [, os = '', cpu = '', abi = ''] = match;
  const libc = abi.includes('musl') ? ['musl'] : abi.includes('gnu') ? ['glibc'] : undefined;
  return { cpu: [cpu], ...(os === 'linux' && libc !== undefined ? { libc } : {}), os: [os] };
}

export function lockfileOmissions(): string[] {
  const lockfile = JSON.parse(readFileSync(LOCKFILE, 'utf8')) as Lockfile;
  return omissionsOf(lockfile).map(
    ({ name, version, parent }) => `${name}@${version}, which ${parent} names`,
  );
}

/** Adds what was left out, so that the lockfile holds for every platform again. */
function completeLockfile(): void {
  const lockfile = JSON.parse(readFileSync(LOCKFILE, 'utf8')) as Lockfile;
  for (const { path, parent, name, version } of omissionsOf(lockfile)) {
    if (!/^\d+\.\d+\.\d+/.test(version))
      throw new Error(`${name} is wanted as ${version}, which is no version`);
    const dev = lockfile.packages[parent]?.dev === true;
    lockfile.packages[path] = { version, ...platformOf(name), ...(dev ? { dev } : {}), optional: true };
    process.stdout.write(`added ${name}@${version}\n`);
  }
  const sorted = Object.entries(lockfile.packages).sort(([a], [b]) => (a < b ? -1 : 1));
  writeFileSync(
    LOCKFILE,
    `${JSON.stringify({ ...lockfile, packages: Object.fromEntries(sorted) }, null, 2)}\n`,
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) completeLockfile();
