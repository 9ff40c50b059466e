import { memoryLockStore } from 'pawl';
import type { Contender } from '../contender.ts';
import { pawlLocks } from './pawl-locks.ts';

export async function openPawlMemory(): Promise<Contender> {
  return pawlLocks(memoryLockStore());
}
