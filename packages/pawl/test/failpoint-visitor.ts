import { appendFileSync } from 'node:fs';
import { failpoint } from '#failpoint';
import type { FailpointName } from '../src/failpoint/names.ts';

/** A process that visits failpoints: `TRACE NAME …`, and after each writes its name on a line of the file TRACE. */
const [trace = '', ...names] = process.argv.slice(2);

for (const name of names as FailpointName[]) {
  failpoint(name);
  appendFileSync(trace, `${name}\n`);
}
