import { CHARGED_TWICE } from '../purchase.ts';

/** The provider: in this process, and without any work. */
export interface Gateway {
  /** @returns the approval's number. @throws Error  It has been charged before. */
  charge(order: number): Promise<string>;
}

export function openGateway(): Gateway {
  const charged = new Set<number>();
  return {
    async charge(order) {
      if (charged.has(order)) throw new Error(CHARGED_TWICE);
      charged.add(order);
      return `approval-${order}`;
    },
  };
}
