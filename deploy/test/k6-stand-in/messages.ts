/** A request as a script gives it to k6. */
export interface HttpRequest {
  method: string;
  url: string;
  body?: string | null;
  params?: { headers?: Record<string, string> };
}

/** What came back; status 0 when nobody answered, as in k6. */
export interface HttpAnswer {
  status: number;
  body: string;
}

export type MetricKind = 'counter' | 'rate';

/** What a virtual user is asked to do, one thing at a time. */
export type Command =
  | { kind: 'load' }
  | { kind: 'setup' }
  | { kind: 'iterate'; data: unknown }
  | { kind: 'teardown'; data: unknown };

/** What it says while it does that, in order; the last is `done`, or `threw` when the script threw. */
export type Report =
  | { kind: 'metric'; name: string; metric: MetricKind }
  | { kind: 'sample'; name: string; value: number }
  | { kind: 'check'; name: string; passed: boolean }
  | { kind: 'requests'; requests: HttpRequest[] }
  | { kind: 'done'; result: unknown }
  | { kind: 'threw'; message: string };

/** What a virtual user is started with. */
export interface UserData {
  script: string;
  env: Record<string, string>;
  /** From 1. */
  id: number;
  /** Set to 1 and notified when an answer lies in `answers`. */
  answered: Int32Array;
  answers: import('node:worker_threads').MessagePort;
}
