/**
 * The statements that begin and end transactions, in the plain forms that adapters and query builders send. What is
 * written in another way (`COMMIT AND CHAIN`, a comment in front) is not recognised, and counts as any other statement.
 */
export const BEGIN = /^\s*(begin|start\s+transaction)\b/i;
export const COMMIT = /^\s*commit(\s+work)?\s*;?\s*$/i;
export const ROLLBACK = /^\s*rollback(\s+work)?\s*;?\s*$/i;
export const ROLLBACK_TO = /^\s*rollback(\s+work)?\s+to\b/i;

export function endsTransaction(text: string): boolean {
  return COMMIT.test(text) || ROLLBACK.test(text);
}
