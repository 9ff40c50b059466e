import { say } from './say.ts';

export class Counter {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
    say({ kind: 'metric', name, metric: 'counter' });
  }

  add(value: number): void {
    say({ kind: 'sample', name: this.#name, value });
  }
}

export class Rate {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
    say({ kind: 'metric', name, metric: 'rate' });
  }

  add(value: boolean): void {
    say({ kind: 'sample', name: this.#name, value: Number(value) });
  }
}
