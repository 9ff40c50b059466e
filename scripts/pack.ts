import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

/**
 * `npm run pack`: the library as it would be published, as a file that npm installs: JavaScript and declarations, made from
 * the sources that the workspace itself runs.
 */
const PACKAGE = resolve(import.meta.dirname, '../packages/pawl');
const ROOT = resolve(PACKAGE, '../..');

const run = promisify(execFile);

/** What the package's own `#name` is: with no condition, and under those that only a checkout has. */
interface Alternatives {
  readonly default: string;
  readonly [condition: string]: string;
}

interface Manifest {
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, Alternatives>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** Entries for this workspace alone: no failpoint of a published package can be armed, so a list of them promises nothing. */
const UNPUBLISHED = ['./failpoints'];

/** What users get instead of a source file. */
function built(source: string, extension: '.js' | '.d.ts'): string {
  return source.replace(/^\.\/src\//, './dist/').replace(/\.ts$/, extension);
}

function published({ private: _, devDependencies, exports, imports, bin, ...rest }: Manifest): object {
  const entries = Object.entries(exports)
    .filter(([path]) => !UNPUBLISHED.includes(path))
    .map(([path, source]) => [path, { types: built(source, '.d.ts'), default: built(source, '.js') }]);
  const own = Object.entries(imports).map(([name, modules]) => [name, built(modules.default, '.js')]);
  const programs = Object.entries(bin).map(([name, source]) => [name, built(source, '.js')]);
  return {
    ...rest,
    exports: Object.fromEntries(entries),
    imports: Object.fromEntries(own),
    bin: Object.fromEntries(programs),
  };
}

/** The modules that a condition brings in place of the default. */
function unpublishedModules({ imports }: Manifest): string[] {
  return Object.values(imports).flatMap(({ default: _, ...others }) => Object.values(others));
}

async function build(outDir: string, folder: string, manifest: Manifest): Promise<void> {
  const configuration = join(folder, 'tsconfig.json');
  const compilerOptions = {
    noEmit: false,
    declaration: true,
    rewriteRelativeImportExtensions: true,
    rootDir: join(PACKAGE, 'src'),
    outDir,
    typeRoots: [join(ROOT, 'node_modules/@types')],
  };
  const include = [join(PACKAGE, 'src')];
  const exclude = unpublishedModules(manifest).map((module) => join(PACKAGE, module));
  await writeFile(
    configuration,
    JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, include, exclude }),
  );
  await run(join(ROOT, 'node_modules/.bin/tsc'), ['--project', configuration]).catch(({ stdout }) => {
    throw new Error(`the sources do not compile:\n${stdout}`);
  });
}

/** @returns the path of the package's file. @throws when the sources do not compile. */
export async function pack(destination: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pawl-pack-'));
  try {
    const content = join(folder, 'package');
    await mkdir(content);
    const manifest: Manifest = JSON.parse(await readFile(join(PACKAGE, 'package.json'), 'utf8'));
    await build(join(content, 'dist'), folder, manifest);
    await writeFile(join(content, 'package.json'), `${JSON.stringify(published(manifest), null, 2)}\n`);
    // The README links to the examples.
    for (const name of ['README.md', 'examples']) {
      await cp(join(PACKAGE, name), join(content, name), { recursive: true });
    }
    const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', destination], {
      cwd: content,
    });
    const [{ filename }]: [{ filename: string }] = JSON.parse(stdout);
    return join(destination, filename);
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (import.meta.main) process.stdout.write(`${await pack(process.cwd())}\n`);
