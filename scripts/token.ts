import { createHmac } from 'node:crypto';
import { parseArgs } from 'node:util';

/**
 * Prints a token by which the shop knows a member, or an operator, for trying it out:
 * `JWT_SECRET=… npm run -s token -- --member 7 [--operator] [--hours 1]`.
 */
const options = {
  member: { type: 'string', default: '1' },
  operator: { type: 'boolean', default: false },
  hours: { type: 'string', default: '1' },
} as const;

function argumentsOrEnd() {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(254);
  }
}

const values = argumentsOrEnd();
const { JWT_SECRET = '' } = process.env;
const hours = Number(values.hours);

const problems = [
  ...(JWT_SECRET.length < 32
    ? ['JWT_SECRET must be set to the 32 characters or more that the shop has']
    : []),
  ...(/^[1-9]\d{0,14}$/.test(values.member)
    ? []
    : ['--member must be a whole number from 1 to 999999999999999']),
  ...(hours > 0 && hours <= 8_760 ? [] : ['--hours must be a number up to 8760']),
];
if (problems.length > 0) {
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  process.exit(254);
}

const exp = Math.floor(Date.now() / 1_000 + hours * 3_600);
const claims = { sub: values.member, exp, ...(values.operator ? { role: 'operator' } : {}) };
const signed = [{ alg: 'HS256', typ: 'JWT' }, claims]
  .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
  .join('.');
process.stdout.write(`${signed}.${createHmac('sha256', JWT_SECRET).update(signed).digest('base64url')}\n`);
