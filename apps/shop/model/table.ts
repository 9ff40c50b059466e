/** What a transaction of the model has changed, and how each change is taken back. */
export interface Trx {
  readonly undo: (() => void)[];
  readonly onCommit: (() => void)[];
}

export function newTrx(): Trx {
  return { undo: [], onCommit: [] };
}

/** Rows that transactions replace, and never write into. */
export class Table<Row> {
  readonly #rows = new Map<string, Row>();
  /** Another one after each change; the same again when it has been taken back. */
  version = 0;

  get(key: string): Row | undefined {
    return this.#rows.get(key);
  }

  all(): IterableIterator<Row> {
    return this.#rows.values();
  }

  put({ undo }: Pick<Trx, 'undo'>, key: string, row: Row): void {
    const before = this.#rows.get(key);
    this.version++;
    undo.push(() => {
      this.version--;
      if (before === undefined) this.#rows.delete(key);
      else this.#rows.set(key, before);
    });
    this.#rows.set(key, row);
  }

  delete({ undo }: Pick<Trx, 'undo'>, key: string): void {
    const before = this.#rows.get(key);
    if (before === undefined) return;
    this.version++;
    undo.push(() => {
      this.version--;
      this.#rows.set(key, before);
    });
    this.#rows.delete(key);
  }
}

/** All of it, or nothing: a refusal rolls back, and so does whatever throws. */
export async function transact<Result extends { readonly outcome: string }>(
  work: (trx: Trx) => Promise<Result>,
): Promise<Result> {
  const trx = newTrx();
  const rollBack = () => {
    for (const undo of trx.undo.reverse()) undo();
  };
  try {
    const result = await work(trx);
    if (result.outcome !== 'done') rollBack();
    else for (const tell of trx.onCommit) tell();
    return result;
  } catch (error) {
    rollBack();
    throw error;
  }
}
