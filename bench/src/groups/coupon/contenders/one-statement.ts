import { isDuplicate, openDatabase, statement } from '../../operations/contenders/database.ts';
import type { OpenOperation } from '../../operations/operation.ts';
import { ALREADY_ISSUED, COUPON, DONE, SOLD_OUT } from '../coupon.ts';
import { isIssued } from './statements.ts';

const issue = statement(
  `WITH taken AS (
     UPDATE coupon SET remaining = remaining - 1
     WHERE id = ? AND remaining > 0
       AND NOT EXISTS (SELECT 1 FROM issued WHERE coupon_id = ? AND member_id = ?)
     RETURNING remaining)
   INSERT INTO issued (coupon_id, member_id, serial, issued_at)
   SELECT ?, ?, remaining + 1, CURRENT_TIMESTAMP(6) FROM taken`,
);

/** Both in one statement of PostgreSQL, which commits by itself. */
export const openOneStatement: OpenOperation = async (urls) => {
  const { run, close } = openDatabase('postgres', urls);
  return {
    async operate(member) {
      try {
        const { affected } = await run(issue, [COUPON, COUPON, member, COUPON, member]);
        if (affected === 1) return DONE;
      } catch (error) {
        // It waited for the row while another request of the member's was served, which its snapshot does not show.
        if (isDuplicate(error)) return ALREADY_ISSUED;
        throw error;
      }
      return (await isIssued({ run }, member)) ? ALREADY_ISSUED : SOLD_OUT;
    },
    close,
  };
};
