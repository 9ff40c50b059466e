import { StoreError } from '../errors.ts';

/**
 * The server takes no such command now: it starts, runs somebody's script, has lost its cluster, its primary, its replicas
 * or its disk, is a replica, or does not know who asks. It says so before it has done anything.
 */
const UNAVAILABLE = new Set([
  'LOADING',
  'BUSY',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'MASTERDOWN',
  'READONLY',
  'NOREPLICAS',
  'MISCONF',
  'NOAUTH',
  'WRONGPASS',
]);

/** Refused before anything was done, also where a script asked: OOM meets its first write only. */
const BEFORE_ANYTHING = new Set(['OOM', 'MOVED', 'ASK', 'CROSSSLOT']);

/** What runs several commands, and keeps what the first have written when a later one fails. */
const SCRIPTS = new Set(['EVAL', 'EVALSHA', 'FCALL']);

/**
 * Classifies an error reply by its first word, which is its code.
 *
 * @param reply  Its message is the reply, without the `-` in front.
 * @param command  The name of the command that it answers.
 * @see "Redis serialization protocol specification", simple errors; "Redis server errors"
 */
export function classifyErrorReply(reply: Error, command: string): StoreError {
  const [code = ''] = reply.message.split(/[ \r\n]/, 1);
  const options = { cause: reply };
  if (code === 'NOSCRIPT') return new StoreError('UNKNOWN_SCRIPT', 'none', reply.message, options);
  if (UNAVAILABLE.has(code)) return new StoreError('UNAVAILABLE', 'none', reply.message, options);
  const mayHaveWritten = SCRIPTS.has(command.toUpperCase()) && !BEFORE_ANYTHING.has(code);
  return new StoreError('REJECTED', mayHaveWritten ? 'unknown' : 'none', reply.message, options);
}
