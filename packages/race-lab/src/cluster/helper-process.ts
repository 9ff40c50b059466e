import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { hostEnv } from './host-env.ts';

/** A process of our own beside this one, which answers what it is told. */
export interface HelperProcess<Message, Answer> {
  /** Tells it something that it does not answer. What cannot be sent is told by its end. */
  tell(message: Message): void;
  /** One question at a time. @throws What `lost` made of its end, or the signal's reason; it has ended by then. */
  ask(message: Message): Promise<Answer>;
  /** Ends it at once. */
  kill(): void;
}

const LAST_WORDS_LIMIT = 2_000;

/**
 * Starts a module as a process, so that it disturbs nobody here and is not disturbed. It ends with `signal`, and with this
 * process.
 *
 * @param lost  Makes an error of why it has ended by itself, and of its last words.
 * @throws the signal's reason
 */
export function startHelper<Message, Answer>(
  module: URL,
  signal: AbortSignal,
  lost: (why: string) => Error,
): HelperProcess<Message, Answer> {
  signal.throwIfAborted();
  const child: ChildProcess = fork(fileURLToPath(module), {
    execArgv: [],
    env: hostEnv(),
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let lastWords = '';
  child.stderr?.on('data', (text) => {
    lastWords = `${lastWords}${text}`.slice(-LAST_WORDS_LIMIT);
  });
  const gone = new AbortController();
  const ended = (why: string) => gone.abort(lost(`${why}: ${lastWords}`));
  child.once('error', (error) => ended(error.message));
  child.once('close', (code, killedBy) => ended(killedBy ?? `exit code ${code}`));
  const end = AbortSignal.any([signal, gone.signal]);
  const kill = () => void child.kill('SIGKILL');
  end.addEventListener('abort', kill, { once: true });

  const tell = (message: Message) => void child.send(message as object, () => undefined);
  return {
    tell,
    async ask(message) {
      end.throwIfAborted();
      const answered = once(child, 'message', { signal: end }) as Promise<[Answer]>;
      tell(message);
      try {
        return (await answered)[0];
      } catch (error) {
        end.throwIfAborted();
        throw error;
      }
    },
    kill,
  };
}
