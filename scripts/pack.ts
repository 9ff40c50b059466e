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

interface Manifest {
  readonly exports: Readonly<Record<string, string>>;
  readonly bin: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** What users get instead of a source file. */
function built(source: string, extension: '.js' | '.d.ts'): string {
  return source.replace(/^\.\/src\//, './dist/').replace(/\.ts$/, extension);
}

function published({ private: _, devDependencies, exports, bin, ...rest }: Manifest): object {
  const entries = Object.entries(exports).map(([path, source]) => [
    path,
    { types: built(source, '.d.ts'), default: built(source, '.js') },
  ]);
  const programs = Object.entries(bin).map(([name, source]) => [name, built(source, '.js')]);
  return { ...rest, exports: Object.fromEntries(entries), bin: Object.fromEntries(programs) };
}

async function build(outDir: string, folder: string): Promise<void> {
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
  await writeFile(
    configuration,
    JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, include }),
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
    await build(join(content, 'dist'), folder);
    const manifest: Manifest = JSON.parse(await readFile(join(PACKAGE, 'package.json'), 'utf8'));
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
