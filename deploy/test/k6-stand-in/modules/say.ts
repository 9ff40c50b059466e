import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { HttpAnswer, HttpRequest, Report, UserData } from '../messages.ts';

export const { id, answered, answers } = workerData as UserData;

export function say(report: Report): void {
  parentPort?.postMessage(report);
}

/** Has requests sent, all of them at once, and stands still until the last has been answered. */
export function exchange(requests: HttpRequest[]): HttpAnswer[] {
  Atomics.store(answered, 0, 0);
  say({ kind: 'requests', requests });
  Atomics.wait(answered, 0, 0);
  return receiveMessageOnPort(answers)?.message as HttpAnswer[];
}
