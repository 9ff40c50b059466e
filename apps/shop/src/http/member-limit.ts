/** How many requests of one member are worked on at a time, by this instance. */
export interface MemberLimit {
  /** Runs `work`, unless as many of the member's are under way: then it does not run, and the answer is undefined. */
  run<T>(memberId: number, work: () => Promise<T>): Promise<T | undefined>;
}

/**
 * One member's thousand connections must not take everybody else's turn at the connections of the database. It guards
 * nothing but that: each instance counts for itself.
 */
export function memberLimit(most: number): MemberLimit {
  const underWay = new Map<number, number>();
  return {
    async run(memberId, work) {
      const count = underWay.get(memberId) ?? 0;
      if (count >= most) return undefined;
      underWay.set(memberId, count + 1);
      try {
        return await work();
      } finally {
        const rest = (underWay.get(memberId) ?? 1) - 1;
        if (rest === 0) underWay.delete(memberId);
        else underWay.set(memberId, rest);
      }
    },
  };
}
