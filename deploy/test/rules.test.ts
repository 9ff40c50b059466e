import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { composeProblems } from '../../scripts/deploy/compose-rules.ts';
import { type BuildContext, dockerfileProblems } from '../../scripts/deploy/dockerfile-rules.ts';

/* What `npm run check` accepts of deploy/, and that each rule refuses the file that breaks it. */

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

/** The text with one thing changed in it, everywhere or where `from` is; a change that changes nothing is a mistake of the test. */
function changed(text: string, from: string, to: string): string {
  expect(text).toContain(from);
  return text.replace(from, () => to);
}

const compose = read('deploy/compose.yaml');

describe('compose.yaml', () => {
  test('is right', () => {
    expect(composeProblems(compose)).toEqual([]);
  });

  test.each([
    ['what is no YAML', 'services:\n', 'services: [\n', 'Flow sequence in block collection'],
    [
      'a key that the specification does not know',
      'pull_policy: never',
      'pull_polcy: never',
      'additional properties: pull_polcy',
    ],
    [
      'a duration without a unit',
      'stop_grace_period: 60s',
      'stop_grace_period: sixty',
      '/services/mysql/stop_grace_period',
    ],
    [
      'a port for everybody',
      '127.0.0.1:8082:8080',
      '8082:8080',
      'lotto-back-2: the port "8082:8080" is not published on 127.0.0.1',
    ],
    [
      'a port for another address',
      '127.0.0.1:8080:8080',
      '0.0.0.0:8080:8080',
      'nginx: the port "0.0.0.0:8080:8080"',
    ],
    [
      'the network of the host',
      'stop_grace_period: 10s',
      'stop_grace_period: 10s\n    network_mode: host',
      'valkey: network_mode',
    ],
    ['an image without a version', 'mysql:8.4', 'mysql', 'mysql: the image mysql is not pinned'],
    [
      'the latest image',
      'valkey/valkey:8.1-alpine',
      'valkey/valkey:latest',
      'valkey: the image valkey/valkey:latest is not pinned',
    ],
    ['a service that stays down', 'restart: unless-stopped', 'restart: "no"', 'mysql: is not started again'],
    ['a service without time to end', '    stop_grace_period: 10s\n', '', 'valkey: has no stop_grace_period'],
    ['a log that grows', 'max-file: "3"', 'labels: x', 'nginx: its log grows for ever'],
    [
      'waiting for a start only',
      'condition: service_healthy',
      'condition: service_started',
      'waits only until',
    ],
    [
      'waiting for health that nobody checks',
      'test: ["CMD", "valkey-cli", "ping"]',
      'disable: true',
      'lotto-back-1: waits for valkey to be healthy, which nobody checks',
    ],
    [
      'waiting for nobody',
      '    valkey:\n      condition',
      '    redis:\n      condition',
      'lotto-back-1: waits for redis, which is no service',
    ],
    [
      'a setting that is not one',
      'SERVER_NAME: lotto-back-3',
      'SERVER_NAME: lotto-back-3\n      SERVER_COLOUR: red',
      'lotto-back-3: SERVER_COLOUR is no setting',
    ],
    [
      'a value that the shop refuses',
      'PURCHASE_STRATEGY:-',
      'PURCHASE_STRATEGY:-luck',
      'lotto-back-1: PURCHASE_STRATEGY must be one of',
    ],
    [
      'a shop that is open without demo mode',
      'DEMO_MODE: "1"',
      'DEMO_MODE: ""',
      'lotto-back-1: HOST must be a loopback address',
    ],
    [
      'a mode that the sandbox refuses',
      'MODE: as-published',
      'MODE: kind',
      'payment-sandbox: MODE must be one of',
    ],
    ['a substitution that nobody checks', 'LAB_MODE:-', 'LAB_MODE', 'lotto-back-1: LAB_MODE must substitute'],
    [
      'a list for an environment',
      '      MYSQL_DATABASE: lotto\n      MYSQL_USER: lotto\n      MYSQL_PASSWORD: lotto\n      MYSQL_RANDOM_ROOT_PASSWORD: "1"',
      '      - MYSQL_DATABASE=lotto',
      'mysql: environment must be a map',
    ],
    [
      'another name',
      'SERVER_NAME: lotto-back-4',
      'SERVER_NAME: lotto-back-5',
      'lotto-back-4: calls itself lotto-back-5',
    ],
    ['another port within', 'PORT: "8080"', 'PORT: "8088"', 'lotto-back-1: listens on 8088'],
    [
      'another port outside',
      '127.0.0.1:8084:8080',
      '127.0.0.1:9084:8080',
      'lotto-back-4: its port is not 127.0.0.1:8084:8080',
    ],
    ['a whole processor', 'cpus: "0.5"', 'cpus: "1"', 'lotto-back-1: is not limited to 0.5 CPU'],
    ['a start that no signal ends', '  init: true\n', '', 'lotto-back-1: has no init'],
    ['more memory', 'memory: 512M', 'memory: 1G', 'lotto-back-1: is not limited to 512M'],
    [
      'not waiting for the database',
      '    mysql:\n      condition: service_healthy\n',
      '',
      'lotto-back-1: does not wait for the database',
    ],
    [
      'another password',
      'MYSQL_PASSWORD: lotto',
      'MYSQL_PASSWORD: other',
      'lotto-back-1: DATABASE_URL is not mysql://lotto:other@',
    ],
    [
      'another key of the provider',
      'SECRET_KEY: test_sk_sandbox\n      LEDGER',
      'SECRET_KEY: other\n      LEDGER',
      'lotto-back-1: PAYMENT_SECRET_KEY is not other',
    ],
    [
      'another port of the provider',
      'PORT: "8090"',
      'PORT: "8091"',
      'lotto-back-1: PAYMENT_BASE_URL is not http://payment-sandbox:8091',
    ],
    [
      'a provider with idempotency keys that nobody uses',
      'MODE: as-published',
      'MODE: toss',
      'lotto-back-1: PAYMENT_IDEMPOTENCY is not 1',
    ],
    ['a Redis that is not there', 'redis://valkey', 'redis://redis', 'lotto-back-1: redis is no service'],
    [
      'a ledger that goes with its container',
      '/var/lib/payment-sandbox/ledger',
      '/tmp/ledger',
      'payment-sandbox: its ledger /tmp/ledger.jsonl is on no volume',
    ],
    [
      'an image that is looked for elsewhere',
      'pull_policy: never',
      'pull_policy: always',
      'lotto-back-1: does not run the image',
    ],
    [
      'another Dockerfile',
      'dockerfile: deploy/Dockerfile',
      'dockerfile: Dockerfile',
      'payment-sandbox: is not built by deploy/Dockerfile',
    ],
    ['another configuration of nginx', './nginx.conf:', './other.conf:', 'nginx: does not run ./nginx.conf'],
    ['a question that moves the rotation on', '/.race-lab/ready', '/ping', 'nginx: is not asked'],
    ['one instance less', '  lotto-back-3:\n    <<', '  lotto-back-9:\n    <<', 'lotto-back-3 is missing'],
  ])('%s is refused', (_what, from, to, problem) => {
    expect(composeProblems(changed(compose, from, to)).join('\n')).toContain(problem);
  });
});

const dockerfile = read('deploy/Dockerfile');
const ignore = read('.dockerignore');
const HEALTHCHECK = dockerfile.match(/^HEALTHCHECK .*$/m)?.[0] ?? '';
const context: BuildContext = { ignore, exists: () => true, nodeVersion: '24.21.0' };

describe('Dockerfile', () => {
  test('is right', () => {
    expect(dockerfileProblems(dockerfile, context)).toEqual([]);
  });

  test.each([
    ['an instruction that is none', 'USER node', 'USERS node', 'Unknown instruction'],
    [
      'a base without a version',
      'FROM node:24.21-bookworm-slim\n',
      'FROM node\n',
      'the base node is not pinned',
    ],
    [
      'the latest base',
      'FROM node:24.21-bookworm-slim\n',
      'FROM node:latest\n',
      'the base node:latest is not pinned',
    ],
    [
      'another Node',
      'FROM node:24.21-bookworm-slim\n',
      'FROM node:22.11-bookworm-slim\n',
      'is not Node 24.21',
    ],
    [
      'a secret',
      'ENV NODE_ENV=production',
      'ENV NODE_ENV=production JWT_SECRET=x',
      'ENV looks like a secret',
    ],
    [
      'a download',
      'COPY apps/shop/src apps/shop/src',
      'ADD apps/shop/src apps/shop/src',
      'COPY does not unpack',
    ],
    [
      'a path that is kept out',
      'COPY apps/shop/src',
      'COPY apps/shop/test',
      '.dockerignore keeps apps/shop/test out',
    ],
    ['root', 'USER node', 'USER root', 'it runs as root'],
    ['root by saying nothing', 'USER node\n', '', 'it runs as root'],
    ['no health check', HEALTHCHECK, 'HEALTHCHECK NONE', 'it has no HEALTHCHECK'],
    [
      'a health check by a shell',
      'CMD ["node", "deploy/healthy.ts"]',
      'CMD node deploy/healthy.ts',
      'its HEALTHCHECK needs a shell',
    ],
    [
      'a shell between signal and service',
      'CMD ["node", "--max-semi-space-size=64", "apps/shop/src/main.ts"]',
      'CMD node --max-semi-space-size=64 apps/shop/src/main.ts',
      'its CMD is run by a shell',
    ],
    ['an entry point', 'USER node', 'USER node\nENTRYPOINT ["tini"]', 'its ENTRYPOINT stands before'],
  ])('%s is refused', (_what, from, to, problem) => {
    expect(dockerfileProblems(changed(dockerfile, from, to), context).join('\n')).toContain(problem);
  });

  test('what is not there is refused', () => {
    const exists = (path: string) => path !== 'bench/package.json';
    expect(dockerfileProblems(dockerfile, { ...context, exists }).join('\n')).toContain(
      'there is no bench/package.json',
    );
  });

  test.each([
    ['lets everything in', ignore.replace('*\n', ''), '.dockerignore must keep everything out'],
    [
      'lets in what nothing copies',
      `${ignore}!apps/shop/test\n`,
      'lets apps/shop/test in, which nothing copies',
    ],
  ])('a .dockerignore that %s is refused', (_what, text, problem) => {
    expect(dockerfileProblems(dockerfile, { ...context, ignore: text }).join('\n')).toContain(problem);
  });
});
