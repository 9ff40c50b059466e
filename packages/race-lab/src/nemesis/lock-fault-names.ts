/** What is done to a lock that is held and waited for. */
export const lockFaultNames = [
  'holder-stopped',
  'redis-killed',
  'redis-restarted',
  'redis-flushed',
  'redis-failed-over',
  'waiter-killed',
  'connection-cut',
  'wake-up-dropped',
] as const;

export type LockFaultName = (typeof lockFaultNames)[number];

/** What each fault does, in a line. */
export const lockFaultTitles: Readonly<Record<LockFaultName, string>> = {
  'holder-stopped':
    'who has read under the lock stands still until its lease is over and somebody else has gone through; then it goes on',
  'redis-killed': 'Redis is killed, and starts again empty',
  'redis-restarted': 'Redis is killed, and starts again with what is in its file',
  'redis-flushed': 'Redis forgets everything',
  'redis-failed-over':
    'Redis is killed, and a replica takes over that had lost its link before the lock was given to its holder',
  'waiter-killed': 'an instance that waits for the lock is killed',
  'connection-cut': 'connections to Redis are cut: of one instance or of all, those that listen or all',
  'wake-up-dropped': 'messages that wake who waits do not arrive',
};

/** After these the lock is still what it was, so the queue must go on within a lease. */
export const queueGoesOn: readonly LockFaultName[] = ['waiter-killed', 'connection-cut', 'wake-up-dropped'];
