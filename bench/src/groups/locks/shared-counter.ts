import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';

/**
 * A number in a file that is read at the beginning of each section and written, one higher, at its end: two sections at
 * the same time lose one of their steps.
 */
export interface SharedCounter {
  read(): number;
  write(value: number): void;
  close(): void;
}

const BYTES = 8;

/** Begins at 0. */
export function resetCounter(file: string): void {
  writeFileSync(file, Buffer.alloc(BYTES));
}

export function readCounter(file: string): number {
  return Number(readFileSync(file).readBigUInt64LE());
}

/** @throws the system's error when there is no such file. */
export function openCounter(file: string): SharedCounter {
  const descriptor = openSync(file, 'r+');
  const bytes = Buffer.alloc(BYTES);
  return {
    read() {
      readSync(descriptor, bytes, 0, BYTES, 0);
      return Number(bytes.readBigUInt64LE());
    },
    write(value) {
      bytes.writeBigUInt64LE(BigInt(value));
      writeSync(descriptor, bytes, 0, BYTES, 0);
    },
    close: () => closeSync(descriptor),
  };
}
