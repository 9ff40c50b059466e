import type { Answer } from 'pawl';
import type { PurchaseAnswers } from '../lotto/purchase/durable/definition.ts';
import { billView } from './bill-view.ts';
import { problem, success } from './envelope.ts';
import { refusals } from './refusals.ts';

const REFUNDED =
  'The payment came too late for this round, and the money was given back. Look at the order before trying again.';

/** The answers that are stored with a purchase: what the member is told, byte by byte, however often he asks. */
export const purchaseAnswers: PurchaseAnswers = {
  billed: (bill) => answer(200, success(billView(bill))),
  notPaid(code) {
    const { status, message } = refusals.declined;
    return answer(status, problem(status, 'declined', code === null ? message : `${message} (${code})`));
  },
  refunded: () => answer(400, problem(400, 'refunded', REFUNDED)),
};

function answer(status: number, body: object): Answer {
  const headers = { 'content-type': 'application/json; charset=utf-8' };
  return { status, headers, body: Buffer.from(JSON.stringify(body)) };
}
