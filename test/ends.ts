/** Takes what ends something that a test has begun. */
export type Ends = (end: () => Promise<void>) => void;
