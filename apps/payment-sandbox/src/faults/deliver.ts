import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Answer, JSON_TYPE, send } from '../answer.ts';
import type { Clock } from '../clock.ts';
import type { AnswerFault } from './rule.ts';

/** What happens to an answer between the sandbox and its client. */
export type Mishap = Exclude<AnswerFault, { kind: 'code' | 'status' }>;

/**
 * Sends an answer as the mishap leaves it.
 *
 * - `slow`: late. `garble`: whole, with its status, but no JSON.
 * - `truncate`: the length of the whole, the first half, the end of the connection.
 * - `reset`: nothing but a TCP reset. `hang`: nothing, for as long as the client stays; this resolves at once.
 *
 * @param closing  Ends every wait: its client loses the connection without an answer.
 */
export async function deliver(
  request: FastifyRequest,
  reply: FastifyReply,
  answer: Answer,
  mishap: Mishap | undefined,
  { clock, closing }: { clock: Clock; closing: AbortSignal },
): Promise<void> {
  if (mishap?.kind === 'slow') await clock.sleep(mishap.delayMs, closing);
  if (mishap === undefined || (mishap.kind === 'slow' && !closing.aborted)) return send(reply, answer);
  if (mishap.kind === 'garble') return send(reply, answer, garbled(answer.body));

  reply.hijack();
  const { socket } = request.raw;
  if (mishap.kind === 'reset') socket.resetAndDestroy();
  else if (mishap.kind === 'truncate') {
    const whole = Buffer.from(answer.body);
    reply.raw.writeHead(answer.status, { 'content-type': JSON_TYPE, 'content-length': whole.length });
    reply.raw.write(whole.subarray(0, whole.length >> 1), () => socket.destroySoon());
  } else if (closing.aborted || socket.destroyed) socket.destroy();
  else {
    const end = () => socket.destroy();
    closing.addEventListener('abort', end);
    socket.once('close', () => closing.removeEventListener('abort', end));
  }
}

/** As many bytes, none of which is the same: no JSON begins with such a byte, whatever decodes it. */
function garbled(body: string): Buffer {
  return Buffer.from(Buffer.from(body).map((byte) => byte ^ 0x80));
}
