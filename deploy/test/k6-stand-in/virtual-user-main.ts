import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import type { Command, Report, UserData } from './messages.ts';

/** One virtual user: a script of k6 in a world of its own, whose calls wait without an event loop, as in k6. */
const { script, env } = workerData as UserData;
const say = (report: Report) => parentPort?.postMessage(report);

const MODULES: Record<string, string> = {
  k6: './modules/k6.ts',
  'k6/data': './modules/data.ts',
  'k6/execution': './modules/execution.ts',
  'k6/http': './modules/http.ts',
  'k6/metrics': './modules/metrics.ts',
};

registerHooks({
  resolve(specifier, context, next) {
    const isScripts =
      context.parentURL !== undefined && !context.parentURL.startsWith(new URL('.', import.meta.url).href);
    if (!isScripts || specifier.startsWith('./')) return next(specifier, context);
    const module = MODULES[specifier];
    // A package, a remote module, or a part of k6 that this stand-in does not know.
    if (module === undefined) throw new Error(`a script of k6 cannot import ${specifier} here`);
    return { url: new URL(module, import.meta.url).href, shortCircuit: true };
  },
});

interface Script {
  options: unknown;
  setup?(): unknown;
  default(data: unknown): void;
  teardown?(data: unknown): void;
}

let loaded: Script | undefined;

async function run(command: Command): Promise<unknown> {
  if (command.kind === 'load') {
    const open = (path: string) => readFileSync(new URL(path, script), 'utf8');
    Object.assign(globalThis, { __ENV: env, open });
    loaded = (await import(script)) as Script;
    return loaded.options;
  }
  if (command.kind === 'setup') return loaded?.setup?.();
  if (command.kind === 'teardown') return loaded?.teardown?.(command.data);
  return loaded?.default(command.data);
}

parentPort?.on('message', (command: Command) => {
  run(command).then(
    (result) => say({ kind: 'done', result }),
    (error: unknown) => say({ kind: 'threw', message: String(error) }),
  );
});
