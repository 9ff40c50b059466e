export class SharedArray {
  constructor(_name: string, make: () => unknown[]) {
    // biome-ignore lint/correctness/noConstructorReturn: k6's is an array, too.
    return make();
  }
}
