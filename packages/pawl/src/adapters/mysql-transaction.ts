import { StoreError } from '../errors.ts';
import { LIMIT_LOCK_WAIT, RESTORE_LOCK_WAIT } from '../mysql/pessimistic-lock.ts';
import { BEGIN, COMMIT, endsTransaction, ROLLBACK, ROLLBACK_TO } from './transaction-text.ts';

/**
 * What has become of one session's transaction, told by its statements and their answers.
 *
 * MySQL lets a session go on after an error, and that is where half-done work comes from:
 *
 *     BEGIN; UPDATE a …; UPDATE b … → 1213 or 1020: the server has rolled back, and is in no transaction any more
 *     UPDATE c …                     commits by itself; a later ROLLBACK does not undo it
 *
 *     BEGIN; UPDATE a …; UPDATE b … → 1205: only this statement is undone
 *     COMMIT                         keeps the half
 *
 * So after such an error nothing passes but ROLLBACK, as on PostgreSQL, and COMMIT rolls back and fails.
 * `DUPLICATE_KEY` alone lets the transaction go on: it is how a claim is lost.
 *
 * A statement that commits implicitly (DDL) is not noticed: keep it out of transactions.
 */
export class MysqlTransaction {
  #state: 'none' | 'open' | 'failed' | 'gone' = 'none';
  #waitLimited = false;
  #waitLimitLost = false;

  /** Whether the next to use the session would inherit something: a transaction, or a limit for its lock waits. */
  get leavesTraces(): boolean {
    return this.#state !== 'none' || this.#waitLimited || this.#waitLimitLost;
  }

  /** Whether `text` is a COMMIT that must become a ROLLBACK. */
  mustRollBack(text: string): boolean {
    return this.#broken && COMMIT.test(text);
  }

  /** @throws StoreError  `ROLLED_BACK`: an earlier statement of the transaction has failed. */
  check(text: string): void {
    if (!this.#broken || ROLLBACK.test(text) || text === RESTORE_LOCK_WAIT) return;
    if (this.#state === 'failed' && ROLLBACK_TO.test(text)) return;
    throw new StoreError('ROLLED_BACK', 'none', 'an earlier statement of this transaction has failed');
  }

  succeeded(text: string): void {
    if (BEGIN.test(text)) this.#state = 'open';
    else if (endsTransaction(text)) this.#state = 'none';
    else if (ROLLBACK_TO.test(text)) this.#state = 'open';
    else if (text.startsWith(LIMIT_LOCK_WAIT)) {
      // Limited twice at once, the session takes the first limit for its own, and cannot give it back.
      this.#waitLimitLost ||= this.#waitLimited;
      this.#waitLimited = true;
    } else if (text === RESTORE_LOCK_WAIT) this.#waitLimited = false;
  }

  failed({ code }: StoreError): void {
    if (this.#state === 'none' || this.#state === 'gone' || code === 'DUPLICATE_KEY') return;
    this.#state = code === 'DEADLOCK' || code === 'SERIALIZATION_FAILURE' ? 'gone' : 'failed';
  }

  get #broken(): boolean {
    return this.#state === 'failed' || this.#state === 'gone';
  }
}

/** Whether the next to use the session inherits something of this statement until another clears it away. */
export function leavesTraces(text: string): boolean {
  return BEGIN.test(text) || text.startsWith(LIMIT_LOCK_WAIT);
}
