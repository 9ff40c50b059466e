import type { EndpointReport } from './endpoint-report.ts';
import { plural } from './plural.ts';
import type { MemberSeen, RoundSeen } from './round-seen.ts';

/** What a race of an endpoint showed, and what it did not, in lines. */
export function endpointText(report: EndpointReport, isRepeated: boolean): string[] {
  const { subject, targets, fanout, rounds, responses, patterns, caught, verdict } = report;
  const where = targets
    .map(({ address, port, tls, http }) => `${address}:${port} over HTTP/${http}${tls ? ' and TLS' : ''}`)
    .join(', ');
  const list = (counts: Record<string, number>) =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ×${count}`)
      .join(', ');
  return [
    `${subject}${where === '' ? '' : ` (${where})`}: ${plural(rounds.raced, 'round')} of ${fanout} simultaneous requests, ` +
      `${expectation(report)}`,
    ...(Object.keys(responses).length === 0 ? [] : [`Answers: ${list(responses)}.`]),
    ...(Object.keys(report.errors).length === 0
      ? []
      : [`Without an answer, or too early: ${list(report.errors)}.`]),
    ...(rounds.raced === 0 ? [] : [`Rounds as successes/refusals and replays/failures: ${list(patterns)}.`]),
    '',
    ...(caught === null ? [] : [...caughtText(caught), '']),
    ...(verdict === 'not-caught' ? notCaughtText(report) : []),
    ...(verdict === 'unknown' ? [`UNKNOWN: ${report.unknownBecause}.`, ...hints(report)] : []),
    ...remarks(report, isRepeated),
  ];
}

function expectation({ expect }: EndpointReport): string {
  const count = 'successes' in expect ? expect.successes : expect.atMost;
  return `of which ${'successes' in expect ? '' : 'at most '}${count} may succeed`;
}

function caughtText({ round, violations, members }: RoundSeen): string[] {
  return [`CAUGHT in round ${round}: ${violations.join('; ')}.`, ...lanes(members)];
}

const LANE = 40;

/** One line a request: when it was sent and answered, to scale. */
function lanes(members: readonly MemberSeen[]): string[] {
  const endMs = Math.max(...members.map(({ answeredMs }) => answeredMs), 1);
  const place = (ms: number) => Math.min(LANE - 1, Math.floor((ms / endMs) * LANE));
  return members.map((one) => {
    const from = place(one.sentMs);
    const to = place(one.answeredMs);
    const lane = `${' '.repeat(from)}${'█'.repeat(to - from + 1)}`.padEnd(LANE);
    const status = String(one.status ?? one.error ?? '–').padEnd(4);
    return `  ${String(one.n).padStart(3)} ▕${lane}▏ ${one.sentMs.toFixed(1).padStart(6)} –${one.answeredMs.toFixed(1).padStart(8)} ms  ${status} ${one.class}`;
  });
}

function notCaughtText({ rounds, fanout, releaseSpreadMs, expect }: EndpointReport): string[] {
  const most = 'successes' in expect ? expect.successes : expect.atMost;
  return [
    `NOT CAUGHT: ${plural(rounds.telling, 'round')} of ${fanout} requests, within ${(releaseSpreadMs?.p50 ?? 0).toFixed(2)} ms of each other at the ` +
      `median (as sent; when they arrived is not known), and no more than ${plural(most, 'success', 'successes')} each: the race was not observed.`,
    'This does not prove that it cannot happen: processes that die, several instances, and time-outs were not tried, and a queue ' +
      'in front is seen only where it answers at even intervals.',
  ];
}

/** By Node's code, not by anybody's message. */
const CERTIFICATE_CODES = /^(DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|CERT_|ERR_TLS_CERT_)/;

const NO_HTTP2_CODES = ['ERR_HTTP2_ERROR', 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL'];

function hints({ errors }: EndpointReport): string[] {
  const codes = Object.keys(errors);
  return [
    ...(codes.some((code) => CERTIFICATE_CODES.test(code))
      ? ['The certificate is not trusted: --ca FILE names who signed it, --insecure trusts anybody.']
      : []),
    ...(codes.includes('too-few-streams')
      ? ['The server allows fewer requests at once on one connection: a smaller --fanout, or --http 1.1.']
      : []),
    ...(codes.some((code) => NO_HTTP2_CODES.includes(code)) ? ['That is no HTTP/2: --http 1.1.'] : []),
    ...(codes.some((code) => code.startsWith('HPE_'))
      ? ['That is no HTTP/1.1: is it another version (--http 2), or https?']
      : []),
  ];
}

function remarks(
  { rounds, endedBy, unknownEffects, responses, verdict }: EndpointReport,
  isRepeated: boolean,
): string[] {
  const redirects = Object.keys(responses).some((status) => status.startsWith('3'));
  const without = rounds.raced - rounds.withSuccess;
  return [
    ...(endedBy === 'spent' || (isRepeated && rounds.withSuccess === 1 && without > 0)
      ? [
          'The rounds were not fresh: all after the first could only see refusals. Put {round} into the URL, a header or the body, ' +
            'so that each round is an operation of its own, or prepare one in a race file.',
        ]
      : without > 0 && rounds.withSuccess > 0
        ? [`In ${plural(without, 'round')} nothing succeeded; they prove nothing.`]
        : []),
    ...(rounds.oneByOne > 0
      ? [
          `In ${plural(rounds.oneByOne, 'round')} the answers came one by one, at even intervals: something in front handles one request at a time, ` +
            'or each waits for the one before. Then the race was not tried there.',
        ]
      : []),
    ...(verdict !== 'caught' && unknownEffects > 0
      ? [
          `${plural(unknownEffects, 'request')} failed: whether they took effect is not known; a check in a race file can tell.`,
        ]
      : []),
    ...(redirects
      ? ['Redirects were not followed, and count as failures; classify in a race file can say otherwise.']
      : []),
  ];
}
