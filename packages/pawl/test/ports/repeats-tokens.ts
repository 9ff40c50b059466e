import { changed, changedGrants } from './changed-locks.ts';

/** Broken: every grant has the same tokens. */
export const open = changedGrants((grant) => changed(grant, { firstToken: 1 }));
