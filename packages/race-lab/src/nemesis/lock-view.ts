import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisProxy } from '../cluster/redis-proxy.ts';
import type { RedisSession } from '../cluster/redis-session.ts';
import { monotonicUs } from '../racer/exchange.ts';
import type { NemesisScene, RaceUnderWay, WatchedLock } from './nemesis.ts';

/** Who had a lock, and who stood waiting for it, when it was looked at. */
export interface LockLook {
  /** The owner as Redis knows him; null where it is free. */
  holder: string | null;
  /** The places of the queue as Redis knows them; the published lock has no queue, but the number of those who listen for it. */
  waiting: readonly string[] | number;
}

const PREFIXES = { published: 'shop:lock:', pawl: 'shop:distributed-lock:' } as const;
/** In front of the owner stand the last token, and whether it is held: `0` says that it is not. */
const PAWL_VALUE = /^\d{16}[+-](.+)$/s;
const LOOK_PAUSE_MS = 1;

/** Where Redis keeps it. */
export function keyOf({ kind, name }: WatchedLock): string {
  return kind === 'pawl' ? `${PREFIXES.pawl}{${name}}` : `${PREFIXES.published}${name}`;
}

/** Whether a message on this channel tells somebody who waits for the lock that it is free, or his. */
export function isWakeUp(lock: WatchedLock, channel: string): boolean {
  return lock.kind === 'pawl' ? channel.startsWith(`${PREFIXES.pawl}granted:`) : channel === keyOf(lock);
}

/** @throws RedisLostError */
export async function lookAt(lock: WatchedLock, session: RedisSession): Promise<LockLook> {
  const key = keyOf(lock);
  const asked = [
    session.command('GET', key),
    lock.kind === 'pawl'
      ? session.command('ZRANGE', `${key}:queue`, 0, -1)
      : session.command('PUBSUB', 'NUMSUB', key),
  ] as const;
  const [value, waiters] = await Promise.all(asked);
  const text = typeof value === 'string' ? value : null;
  const list = Array.isArray(waiters) ? waiters : [];
  return {
    holder: lock.kind === 'pawl' ? (PAWL_VALUE.exec(text ?? '')?.[1] ?? null) : text,
    waiting: lock.kind === 'pawl' ? list.map(String) : Number(list[1] ?? 0),
  };
}

/** Looks until the lock is held, and waited for by a process other than the holder's; null when `over` comes first. */
export async function untilContended(
  lock: WatchedLock,
  session: RedisSession,
  over: AbortSignal,
): Promise<LockLook | null> {
  while (!over.aborted) {
    const look = await lookAt(lock, session);
    if (isContended(look)) return look;
    await sleep(LOOK_PAUSE_MS);
  }
  return null;
}

export function isContended({ holder, waiting }: LockLook): boolean {
  if (holder === null) return false;
  return typeof waiting === 'number' ? waiting > 0 : waiting.length > 0;
}

/** Which clients wait for the lock, and do not have it, by their numbers. */
export function waitersAmong(
  lock: WatchedLock,
  { holder, waiting }: LockLook,
  proxy: Pick<RedisProxy, 'ports' | 'channelsOf'>,
): number[] {
  return proxy.ports.flatMap((_, client) => {
    const channels = [...proxy.channelsOf(client)];
    if (typeof waiting === 'number') return channels.includes(keyOf(lock)) ? [client] : [];
    // Each process listens on a channel of its own name, which its places begin with.
    const processes = channels
      .filter((channel) => isWakeUp(lock, channel))
      .map((channel) => channel.slice(`${PREFIXES.pawl}granted:`.length));
    const isOf = (place: string) => processes.some((process) => place.startsWith(`${process}:`));
    return waiting.some(isOf) && !isOf(holder ?? '') ? [client] : [];
  });
}

/**
 * Waits for the lock to be held and waited for, and then for a moment that chance picks, at which it must be so still, or
 * again.
 *
 * @returns the moment, by the monotonic clock, in microseconds; null when the race was over before.
 */
export async function lieInWait(
  { lock, random, lurkMs }: Pick<NemesisScene, 'lock' | 'random' | 'lurkMs'>,
  session: RedisSession,
  { over }: Pick<RaceUnderWay, 'over'>,
): Promise<number | null> {
  if ((await untilContended(lock, session, over)) === null) return null;
  await sleep(random(lurkMs + 1));
  return (await untilContended(lock, session, over)) && monotonicUs();
}
