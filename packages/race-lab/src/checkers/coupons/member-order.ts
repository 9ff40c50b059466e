import { byMember } from '../../history/campaign.ts';
import type { CampaignEvidence } from '../../history/coupon-evidence.ts';
import type { Model } from '../linearizability.ts';
import { type OrderSearch, searchOrderOf, type Told } from './order-search.ts';

interface MemberOperation extends Told {
  what: 'issue' | 'already-issued';
}

/** Whether each member's answers say that he is given one, and has one from then on. */
export function searchMemberOrders({
  answers,
}: CampaignEvidence): { memberId: number; search: OrderSearch }[] {
  return [...byMember(answers)].map(([memberId, ofMember]) => {
    const operations = ofMember.flatMap((answer): MemberOperation | [] => {
      if (answer.result !== 'fail') return { what: 'issue', answer };
      return answer.code === 'already-issued' ? { what: 'already-issued', answer } : [];
    });
    const search = searchOrderOf(memberModel, operations, (has) => `he has ${has ? 'one' : 'none'}`);
    return { memberId, search };
  });
}

/** Whether the member has one. */
const memberModel: Model<boolean, MemberOperation> = {
  initial: false,
  step: (has, { what }) => (has === (what === 'already-issued') ? [true] : []),
  stateKey: String,
  operationKey: ({ what }) => what,
  readsOnly: ({ what }) => what === 'already-issued',
  isPast: () => false,
};
