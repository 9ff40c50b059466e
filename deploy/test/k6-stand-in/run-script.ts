import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Command, HttpAnswer, HttpRequest, MetricKind, Report, UserData } from './messages.ts';

/** What a run of k6 says at its end. */
export interface Summary {
  /** The sum of a counter, the share of a rate. */
  metrics: Record<string, number>;
  /** By their names: how often they passed, and failed. */
  checks: Record<string, { passes: number; fails: number }>;
  /** By metric and expression: whether it holds. */
  thresholds: Record<string, boolean>;
  /** What the iterations threw. */
  thrown: readonly string[];
}

interface Options {
  scenarios: Record<string, { executor: string; vus: number; iterations: number }>;
  thresholds: Record<string, string[]>;
}

const USER_MAIN = new URL('virtual-user-main.ts', import.meta.url);
const TIMEOUT_MS = 20_000;

/**
 * Runs a script as `k6 run` does: as many virtual users as its one scenario says, each in a world of its own, and its thresholds
 * over what they counted. A threshold without a sample holds, as in k6.
 *
 * @throws Error  The script does not load, its setup or teardown throws, or it needs what this stand-in does not know.
 */
export async function runScript(script: URL, env: Record<string, string>): Promise<Summary> {
  const samples = new Samples();
  const users: VirtualUser[] = [];
  const start = (id: number) => {
    const user = new VirtualUser({ script: script.href, env, id }, samples);
    users.push(user);
    return user;
  };
  try {
    const first = start(1);
    const options = (await first.run({ kind: 'load' })) as Options;
    const [scenario, ...others] = Object.values(options.scenarios);
    if (scenario?.executor !== 'per-vu-iterations' || others.length > 0)
      throw new Error('only one scenario, of iterations for each user, is known here');
    const { vus, iterations } = scenario;
    const data = await first.run({ kind: 'setup' });
    // As in k6, all are there before the first begins.
    const rest = Array.from({ length: vus - 1 }, (_, index) => start(index + 2));
    await Promise.all(rest.map((user) => user.run({ kind: 'load' })));
    const thrown: string[] = [];
    await Promise.all(
      [first, ...rest].map(async (user) => {
        for (let done = 0; done < iterations; done++) {
          await user.run({ kind: 'iterate', data }).catch((error: Error) => thrown.push(error.message));
        }
      }),
    );
    await first.run({ kind: 'teardown', data });
    return { ...samples.summary(), thresholds: samples.judge(options.thresholds), thrown };
  } finally {
    await Promise.all(users.map((user) => user.end()));
  }
}

/** A virtual user, from outside. */
class VirtualUser {
  readonly #worker: Worker;
  readonly #answered = new Int32Array(new SharedArrayBuffer(4));
  readonly #answers: MessagePort;
  readonly #samples: Samples;
  #running: PromiseWithResolvers<unknown> = Promise.withResolvers();

  constructor(given: Pick<UserData, 'script' | 'env' | 'id'>, samples: Samples) {
    const { port1, port2 } = new MessageChannel();
    const workerData: UserData = { ...given, answered: this.#answered, answers: port2 };
    this.#answers = port1;
    this.#samples = samples;
    this.#worker = new Worker(USER_MAIN, { workerData, transferList: [port2], execArgv: [] });
    this.#worker.on('message', (report: Report) => this.#hear(report));
    this.#worker.on('error', (error) => this.#running.reject(error));
  }

  run(command: Command): Promise<unknown> {
    this.#running = Promise.withResolvers();
    this.#worker.postMessage(command);
    return this.#running.promise;
  }

  async end(): Promise<void> {
    this.#answers.close();
    await this.#worker.terminate();
  }

  #hear(report: Report): void {
    if (report.kind === 'done') this.#running.resolve(report.result);
    else if (report.kind === 'threw') this.#running.reject(new Error(report.message));
    else if (report.kind === 'requests') void this.#send(report.requests);
    else this.#samples.take(report);
  }

  async #send(requests: HttpRequest[]): Promise<void> {
    const answers = await Promise.all(requests.map(send));
    this.#answers.postMessage(answers);
    Atomics.store(this.#answered, 0, 1);
    Atomics.notify(this.#answered, 0);
  }
}

async function send({ method, url, body, params }: HttpRequest): Promise<HttpAnswer> {
  try {
    const headers = params?.headers ?? {};
    const response = await fetch(url, {
      method,
      headers,
      body: body ?? null,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return { status: response.status, body: await response.text() };
  } catch (error) {
    return { status: 0, body: String(error) };
  }
}

/** What all virtual users counted. */
class Samples {
  readonly #metrics = new Map<string, { kind: MetricKind; values: number[] }>([
    ['checks', { kind: 'rate', values: [] }],
  ]);
  readonly #checks: Summary['checks'] = {};

  take(report: Extract<Report, { kind: 'metric' | 'sample' | 'check' }>): void {
    if (report.kind === 'metric') {
      if (!this.#metrics.has(report.name))
        this.#metrics.set(report.name, { kind: report.metric, values: [] });
      return;
    }
    if (report.kind === 'sample') {
      this.#metrics.get(report.name)?.values.push(report.value);
      return;
    }
    this.#metrics.get('checks')?.values.push(Number(report.passed));
    const { passes, fails } = this.#checks[report.name] ?? { passes: 0, fails: 0 };
    this.#checks[report.name] = {
      passes: passes + Number(report.passed),
      fails: fails + Number(!report.passed),
    };
  }

  summary(): Pick<Summary, 'metrics' | 'checks'> {
    const metrics = [...this.#metrics].map(([name, { kind, values }]) => [name, summed(kind, values)]);
    return { metrics: Object.fromEntries(metrics), checks: this.#checks };
  }

  judge(thresholds: Options['thresholds']): Summary['thresholds'] {
    const judged = Object.entries(thresholds).flatMap(([name, expressions]) =>
      expressions.map((expression) => [`${name}: ${expression}`, this.#holds(name, expression)] as const),
    );
    return Object.fromEntries(judged);
  }

  #holds(name: string, expression: string): boolean {
    const metric = this.#metrics.get(name);
    const [, aggregate, wanted] = /^(count|rate)==(\d+)$/.exec(expression) ?? [];
    const isKnown = metric && aggregate === (metric.kind === 'counter' ? 'count' : 'rate');
    if (!isKnown) throw new Error(`the threshold ${name}: ${expression} is not known here`);
    return metric.values.length === 0 || summed(metric.kind, metric.values) === Number(wanted);
  }
}

function summed(kind: MetricKind, values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  return kind === 'counter' ? sum : sum / values.length;
}
