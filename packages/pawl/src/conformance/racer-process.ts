import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FromRacers, ToRacers } from './messages.ts';
import type { RacerHost } from './racer-host.ts';
import { Runs } from './runs.ts';
import { within } from './waiting.ts';
import type { WorldSpec } from './world.ts';

/** How long a process may take to close its connections, in milliseconds. */
const CLOSE_LIMIT_MS = 5_000;
/** How long one is kept for the next case, in milliseconds. */
const IDLE_MS = 1_000;
const LAST_WORDS = 2_000;

/** Processes whose case is over. They end when nobody wants them, and with this process. */
const idle = new Set<RacerProcess>();

/** A process of racers in which everything is open when this resolves: one of the last case, or a new one. */
export async function startRacerProcess(
  world: WorldSpec,
  execArgv: readonly string[] = process.execArgv,
): Promise<RacerHost> {
  const options = execArgv.join(' ');
  const [known] = [...idle].filter((one) => one.options === options);
  const racers = known ?? new RacerProcess(execArgv);
  idle.delete(racers);
  await racers.open(world);
  return racers;
}

class RacerProcess implements RacerHost {
  readonly options: string;
  readonly #child: ChildProcess;
  #runs: Runs;
  #answer = Promise.withResolvers<void>();
  #lastWords = '';
  #stopped = false;
  #leaving: NodeJS.Timeout | undefined;

  constructor(execArgv: readonly string[]) {
    this.options = execArgv.join(' ');
    const main = new URL(`./racer-main${extname(import.meta.url)}`, import.meta.url);
    this.#child = fork(fileURLToPath(main), {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [...execArgv],
    });
    this.#runs = this.#newRuns();
    this.#child.stderr?.on('data', (data) => {
      this.#lastWords = `${this.#lastWords}${data}`.slice(-LAST_WORDS);
    });
    this.#child.on('message', (message: FromRacers) => this.#told(message));
    this.#child.on('error', (error) => this.#gone(error));
    this.#child.on('close', (code, signal) => {
      this.#gone(new Error(`the racers' process has ended (${signal ?? code}): ${this.#lastWords}`));
    });
  }

  async open(world: WorldSpec): Promise<void> {
    clearTimeout(this.#leaving);
    this.#keepAlive(true);
    this.#runs = this.#newRuns();
    try {
      await within(this.#ask({ kind: 'open', world }), 'racers that are ready');
    } catch (error) {
      await this.#kill();
      throw error;
    }
  }

  start: RacerHost['start'] = (job, params, racers) => this.#runs.start(job, params, racers);

  async signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): Promise<void> {
    if (signal === 'SIGKILL') return this.#kill();
    this.#stopped = signal === 'SIGSTOP';
    this.#child.kill(signal);
  }

  async end(): Promise<void> {
    if (this.#hasEnded()) return;
    // What is still at work after a case, or stands still, would go on into the next one.
    if (this.#stopped || !this.#runs.idle) return this.#kill();
    try {
      await within(this.#ask({ kind: 'close' }), 'racers that have closed', CLOSE_LIMIT_MS);
    } catch (error) {
      await this.#kill();
      throw error;
    }
    idle.add(this);
    this.#keepAlive(false);
    this.#leaving = setTimeout(() => {
      idle.delete(this);
      this.#child.disconnect();
    }, IDLE_MS).unref();
  }

  #newRuns(): Runs {
    return new Runs((message) => this.#child.send(message));
  }

  #ask(message: ToRacers): Promise<void> {
    this.#answer = Promise.withResolvers<void>();
    this.#child.send(message, (error) => error && this.#answer.reject(error));
    return this.#answer.promise;
  }

  #told(message: FromRacers): void {
    if (message.kind === 'ready') this.#answer.resolve();
    else if (message.kind === 'failed') this.#answer.reject(new Error(message.error.message));
    else this.#runs.told(message);
  }

  #gone(error: Error): void {
    idle.delete(this);
    this.#answer.promise.catch(() => undefined);
    this.#answer.reject(error);
    this.#runs.gone(error);
  }

  /** While it is idle, nothing of it keeps this process from ending; it ends when the channel closes. */
  #keepAlive(alive: boolean): void {
    const { channel, stderr } = this.#child;
    for (const one of [this.#child, channel, stderr as Socket | null]) alive ? one?.ref() : one?.unref();
  }

  #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async #kill(): Promise<void> {
    idle.delete(this);
    if (this.#hasEnded()) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
