import type { StrictServer } from '@pawl/service-kit';
import Type from 'typebox';
import { noTrace, recordTrace, steps, type Trace } from '../trace.ts';
import { oneOf } from './schemas.ts';

/**
 * Lab mode: every answer says which instance gave it, and when its request had arrived in full.
 *
 * The stamp is taken after the body has been read, since a racer sends everything but the last byte ahead of
 * time; and from the monotonic clock, which all processes of a machine share.
 */
export function stampArrivals(app: StrictServer, serverName: string): void {
  app.addHook('preValidation', async (_request, reply) => {
    reply.header('x-arrived-at-us', String(process.hrtime.bigint() / 1000n));
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-server-name', serverName);
  });
}

/** Where the instance that works on a request is to stand still. */
export const stopAtHeader = { 'x-lab-stop-at': Type.Optional(oneOf(steps)) };

/**
 * Runs what works on a request. In lab mode its answer, be it a failure, tells what was done and when; and it is stopped where
 * the request says (`stopAtHeader`).
 */
export function traced<Outcome>(
  labMode: boolean,
  headers: Readonly<Record<string, unknown>>,
  reply: TracedReply,
  work: (trace: Trace) => Promise<Outcome>,
): Promise<Outcome> {
  return labMode ? recorded(headers, reply, work) : work(noTrace);
}

interface TracedReply {
  headers(headers: Record<string, string>): unknown;
}

async function recorded<Outcome>(
  headers: Readonly<Record<string, unknown>>,
  reply: TracedReply,
  work: (trace: Trace) => Promise<Outcome>,
): Promise<Outcome> {
  const trace = recordTrace(steps.find((step) => step === headers['x-lab-stop-at']));
  try {
    return await work(trace);
  } finally {
    reply.headers({
      'x-retries': String(trace.retries),
      'x-steps': trace.steps.map(({ name, atUs }) => `${name}=${atUs}`).join(','),
    });
  }
}
