import { Ajv2020 } from 'ajv/dist/2020.js';
import { beforeAll, describe, expect, test } from 'vitest';
import { newDatabase } from '../../../test/stores.ts';
import { type Shops, startProvider, startShops, untilFileEnds } from './harness.ts';
import { methodOf, shopRoutes, type World } from './security/route-table.ts';
import { asMember, asOperator, JWT_SECRET } from './security/tokens.ts';

interface Operation {
  operationId?: string;
  summary?: string;
  tags?: string[];
  security?: Record<string, unknown>[];
  parameters?: { name: string; in: string; required?: boolean; schema: object }[];
  requestBody?: { content: Record<string, { schema: object }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
}
interface Description {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { securitySchemes: Record<string, object> };
}

const ends = untilFileEnds();
let demo: Shops;
let tokens: Shops;
let described: { demo: Description; tokens: Description };

beforeAll(async () => {
  const provider = await startProvider({}, ends);
  const databaseUrl = await newDatabase();
  const start = (env: Record<string, string>) =>
    startShops({ databaseUrl, providerUrl: provider.url, ends, env: { LAB_MODE: '0', ...env } });
  demo = await start({});
  tokens = await start({ JWT_SECRET });
  const read = async ({ urls }: Shops) => (await (await fetch(`${urls[0]}/docs/json`)).json()) as Description;
  described = { demo: await read(demo), tokens: await read(tokens) };
});

/** `GET /api/orders/:orderId`, as the description has it. */
const addressOf = (route: string) => (route.split(' ')[1] ?? '').replaceAll(/:(\w+)/g, '{$1}');
const operationOf = ({ paths }: Description, route: string) =>
  paths[addressOf(route)]?.[methodOf(route).toLowerCase()];
const isOfThePage = (route: string) => route.startsWith('GET /docs');

const ajv = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true });

describe('the description', () => {
  test('is OpenAPI 3.1: every reference leads somewhere, every schema is JSON Schema 2020-12, every operation has its name', () => {
    for (const description of Object.values(described)) {
      expect(description.openapi).toMatch(/^3\.1\./);
      expect(description.info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
      const text = JSON.stringify(description);
      for (const [, pointer = ''] of text.matchAll(/"\$ref":"#([^"]*)"/g)) {
        const found = pointer
          .split('/')
          .slice(1)
          .reduce<unknown>((at, name) => Object(at)[name], description);
        expect(found, pointer).toBeDefined();
      }
      const operations = Object.entries(description.paths).flatMap(([path, item]) =>
        Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
      );
      const names = operations.map(({ operation }) => operation.operationId);
      expect(new Set(names).size).toBe(names.length);
      for (const { path, method, operation } of operations) {
        const { operationId, summary, tags, responses, parameters = [], requestBody } = operation;
        const name = `${method} ${path}`;
        expect({ operationId, summary, tags }, name).toEqual({
          operationId: expect.stringMatching(/^[a-zA-Z]+$/),
          summary: expect.stringMatching(/^[A-Z]/),
          tags: [expect.any(String)],
        });
        expect(Object.keys(responses), name).toEqual(expect.arrayContaining(['200', '4XX', '5XX']));
        for (const { description: about } of Object.values(responses))
          expect(about).toMatch(/^(What|Refused|Failed)/);
        const inPath = [...path.matchAll(/{(\w+)}/g)].map(([, parameter]) => parameter);
        expect(parameters.filter((one) => one.in === 'path').map((one) => one.name)).toEqual(inPath);
        const contents = [requestBody?.content, ...Object.values(responses).map(({ content }) => content)];
        const schemas = [
          ...parameters.map(({ schema }) => schema),
          ...contents.flatMap((content) => Object.values(content ?? {}).map(({ schema }) => schema)),
        ];
        for (const schema of schemas)
          expect(() => ajv.compile(schema), `${name} ${JSON.stringify(schema)}`).not.toThrow();
      }
    }
  });

  test('names every route but those of the page, and says of each what its auth rule says', () => {
    for (const [mode, shops] of [
      ['demo', demo],
      ['tokens', tokens],
    ] as const) {
      const routes = shops.routes.filter(({ method, url }) => !isOfThePage(`${method} ${url}`));
      const listed = Object.entries(described[mode].paths).flatMap(([path, item]) =>
        Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
      );
      expect(listed.toSorted()).toEqual(
        routes.map(({ method, url }) => `${method} ${addressOf(`${method} ${url}`)}`).toSorted(),
      );
      for (const { method, url, auth } of routes) {
        const security = operationOf(described[mode], `${method} ${url}`)?.security;
        const asked =
          mode === 'tokens'
            ? auth !== 'public' && [{ token: [] }]
            : auth === 'member' && [{}, { memberId: [] }];
        expect(security, url).toEqual(asked || []);
      }
    }
    expect(Object.keys(described.tokens.components.securitySchemes)).toEqual(['token']);
    expect(Object.keys(described.demo.components.securitySchemes)).toEqual(['memberId']);
    expect(JSON.stringify(described)).not.toMatch(/x-lab-stop-at|tosspayments-test-code|\/lab\//i);
  });

  test('is true: what each route answers, and what it refuses, is what is said of it', async () => {
    const world: World = { shops: tokens, member: asMember(7), operator: asOperator() };
    const wrong: string[] = [];
    const statuses = new Set<number>();
    for (const [route, { auth, right, type }] of Object.entries(shopRoutes)) {
      if (isOfThePage(route)) continue;
      const operation = operationOf(described.tokens, route);
      const asked = await right(world);
      const headers = auth === 'member' ? world.member : world.operator;
      const ask = (path: string, body: unknown, who: Record<string, string>) => {
        const sent =
          body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
        const contentType: Record<string, string> =
          body === undefined ? {} : { 'content-type': 'application/json' };
        return fetch(`${tokens.urls[0]}${path}`, {
          method: methodOf(route),
          headers: { ...contentType, ...who },
          ...sent,
        });
      };
      const post = methodOf(route) !== 'GET';
      const replies = [
        await ask(asked.path, asked.body, headers),
        // The same once more, which is sometimes refused.
        await ask(asked.path, asked.body, headers),
        await ask(asked.path, asked.body, {}),
        ...(post
          ? [await ask(asked.path, '{', headers), await ask(asked.path, { unknown: 1 }, headers)]
          : []),
        ...(route.includes(':orderId')
          ? [await ask(asked.path.replace(/[0-9a-f-]{36}/, 'no-such-order'), asked.body, headers)]
          : []),
      ];
      for (const reply of replies) {
        const text = await reply.text();
        statuses.add(reply.status);
        const told =
          operation?.responses[reply.status] ?? operation?.responses[`${String(reply.status)[0]}XX`];
        const media = reply.headers.get('content-type')?.split(';')[0] ?? '';
        const schema = told?.content?.[media]?.schema;
        const value = type === undefined || reply.status !== 200 ? JSON.parse(text) : text;
        if (schema === undefined || !ajv.validate(schema, value)) {
          wrong.push(`${route}: ${reply.status} ${text.slice(0, 200)} ${ajv.errorsText()}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect([...statuses].toSorted()).toEqual([200, 400, 401, 404, 409]);
  });
});

test('the page has all that it shows from here', async () => {
  const url = `${demo.urls[0]}/docs/`;
  const page = await fetch(url);
  expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");
  const html = await page.text();
  const parts = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, part = '']) => new URL(part, url));
  expect(parts.length).toBeGreaterThan(4);
  for (const part of parts) {
    expect(part.origin).toBe(new URL(url).origin);
    const reply = await fetch(part);
    expect(`${part.pathname} ${reply.status}`).toBe(`${part.pathname} 200`);
    // To its end: an instance waits for whoever does not read on, so that this file would not end either.
    expect((await reply.arrayBuffer()).byteLength).toBeGreaterThan(0);
  }
  const start = await (await fetch(new URL('static/swagger-initializer.js', url))).text();
  expect(start).toContain('validatorUrl: null');
  for (const path of [
    'static/%2e%2e/package.json',
    'static/..%2fpackage.json',
    'static/.env',
    'static/none',
  ]) {
    const reply = await fetch(new URL(path, url));
    expect([400, 403, 404]).toContain(reply.status);
    expect(await reply.json()).toMatchObject({ success: false, status: reply.status, data: null });
  }
});
