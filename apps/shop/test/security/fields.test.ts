import { Ajv2020 } from 'ajv/dist/2020.js';
import { beforeAll, expect, test } from 'vitest';
import { snapshot } from '../coupons/coupons.ts';
import { type Reply, type Shops, startProvider, startShops, untilFileEnds } from '../harness.ts';
import { type Asked, labRoutes, methodOf, shopRoutes, type World } from './route-table.ts';

type Schema = { type?: string; properties?: Record<string, Schema>; items?: Schema };
interface Operation {
  parameters?: { name: string; in: string; schema: Schema }[];
  requestBody?: { content: { 'application/json': { schema: Schema } } };
}
/** Where a value can be put: in the body, at this path, or under this name. */
interface Field {
  readonly in: 'body' | 'path' | 'query' | 'header';
  readonly path: readonly string[];
  readonly schema: Schema;
}

const ends = untilFileEnds();
let provider: Awaited<ReturnType<typeof startProvider>>;
let shops: Shops;
let operations: Map<string, Operation>;

beforeAll(async () => {
  provider = await startProvider({}, ends);
  // In lab mode, which has all routes and fields; its limit of requests would answer in their place.
  const env = { COUPON_REQUESTS_PER_MEMBER: '9' };
  shops = await startShops({ providerUrl: provider.url, ends, env });
  const description = await (await fetch(`${shops.urls[0]}/docs/json`)).json();
  const { paths } = description as { paths: Record<string, Record<string, Operation>> };
  operations = new Map(
    Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => [
        `${method.toUpperCase()} ${path.replaceAll(/{(\w+)}/g, ':$1')}`,
        operation,
      ]),
    ),
  );
});

/** Every field of a route, as the route's own schema has them, and the body as a whole. */
function fieldsOf({ parameters = [], requestBody }: Operation): Field[] {
  const inBody = (schema: Schema, path: readonly string[]): Field[] => [
    { in: 'body', path, schema },
    ...Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => inBody(inner, [...path, name])),
    ...(schema.items === undefined ? [] : inBody(schema.items, [...path, '0'])),
  ];
  const body = requestBody?.content['application/json'].schema;
  return [
    ...parameters.map(({ name, schema, ...parameter }) => ({
      in: parameter.in as 'path' | 'query' | 'header',
      path: [name],
      schema,
    })),
    ...(body === undefined ? [] : inBody(body, [])),
  ];
}

const TEXTS = [
  "'",
  "' OR '1'='1",
  "1'; DROP TABLE orders; --",
  '1; SELECT pg_sleep(10)',
  '") OR 1=1 /*',
  '\\',
  '%27%20OR%201=1',
  '$1',
  ':id',
  '../../etc/passwd',
  '<script>alert(1)</script>',
  'a\r\nSet-Cookie: injected=1',
  'a\u0000b',
  '\ud800',
  '__proto__',
  'x'.repeat(1_000),
  '',
];
/** As they stand in JSON: not all of them can be written otherwise. */
const LITERALS = [
  ...TEXTS.map((text) => JSON.stringify(text)),
  ...['0', '-1', '0.5', '1e400', '-1e400', '9007199254740993', '1e21', '20260101', '"1"'],
  ...['true', 'false', 'null', '[]', '{}', '["1"]', '[1]', '{"$ne":null}', '{"$gt":""}', '[[]]'],
  ...['{"__proto__":{"amount":1}}', '{"toString":1}', '{"length":1}'],
];

/** The same request with this value in that field; undefined where there cannot be one. */
function withField(
  asked: { path: string; body?: unknown },
  route: string,
  field: Field,
  literal: string,
): { path: string; body?: string; headers?: Record<string, string> } | undefined {
  const [name = ''] = field.path;
  const text = textOf(literal);
  const rest = asked.body === undefined ? {} : { body: JSON.stringify(asked.body) };
  const encoded = encodeURIComponent(text.toWellFormed());
  switch (field.in) {
    case 'path': {
      if (encoded === '') return undefined;
      const place = (route.split(' ')[1] ?? '').split('/').indexOf(`:${name}`);
      return { ...rest, path: asked.path.split('/').with(place, encoded).join('/') };
    }
    case 'query':
      return { ...rest, path: `${asked.path.split('?')[0]}?${name}=${encoded}` };
    case 'header':
      // What no client can send as a header: a test of the server's own parser has it (`floods.test.ts`).
      if (!/^[\t\x20-\x7e]+$/.test(text) || text.trim() !== text) return undefined;
      return { ...rest, path: asked.path, headers: { [name]: text } };
    case 'body': {
      const marker = '@the-field@';
      const put = (value: unknown, path: readonly string[]): unknown => {
        const [step, ...further] = path;
        if (step === undefined) return marker;
        if (Array.isArray(value) || step === '0') return [put(undefined, further)];
        return { ...(value as object), [step]: put(Object(value)[step], further) };
      };
      const body = JSON.stringify(put(asked.body, field.path)).replace(`"${marker}"`, literal);
      return { path: asked.path, body };
    }
  }
}

/** Outside of a body there is nothing but text. */
const textOf = (literal: string) => (literal.startsWith('"') ? String(JSON.parse(literal)) : literal);

/** Whether the route's own schema takes the value. */
function fits(ajv: Ajv2020, field: Field, literal: string): boolean {
  return ajv.validate(field.schema, field.in === 'body' ? JSON.parse(literal) : textOf(literal));
}

test('no field takes another type, a statement, a path or a header for its value, and nothing is asked or written then', async () => {
  const ajv = new Ajv2020({ strict: false });
  const world: World = { shops, member: {}, operator: {} };
  const wrong: string[] = [];
  const state = async () => JSON.stringify([await snapshot(shops), await provider.requests()]);
  const tried = { refused: 0, taken: 0 };

  const fields: { route: string; asked: Asked; field: Field; name: string }[] = [];
  for (const [route, { right }] of Object.entries({ ...shopRoutes, ...labRoutes })) {
    const operation = operations.get(route);
    if (operation === undefined) continue;
    const asked = await right(world);
    for (const field of fieldsOf(operation)) {
      fields.push({ route, asked, field, name: `${route} ${field.in} ${field.path.join('.')}` });
    }
  }

  /** Asks with each of the values that the field's schema takes, or with all others, at once. @returns how many were not refused */
  async function tryAll({ route, asked, field, name }: (typeof fields)[number], which: 'fitting' | 'others') {
    const takenBefore = tried.taken;
    const tries = LITERALS.map(async (literal) => {
      if (fits(ajv, field, literal) !== (which === 'fitting')) return;
      const request = withField(asked, route, field, literal);
      if (request === undefined) return;
      const reply: Reply = await shops.call(methodOf(route), request.path, request.body, request.headers);
      const isRefused = [400, 404, 409, 414, 422].includes(reply.status);
      // What its schema takes may still be refused for what it says, or be a text like any other.
      const isRight = isRefused ? reply.body.success === false : which === 'fitting' && reply.status < 400;
      if (!isRight || reply.headers.has('set-cookie')) {
        wrong.push(`${name} = ${literal.slice(0, 60)}: ${reply.status} ${reply.text.slice(0, 200)}`);
      }
      tried[isRefused ? 'refused' : 'taken']++;
    });
    await Promise.all(tries);
    return tried.taken - takenBefore;
  }

  let before = await state();
  for (const field of fields) await tryAll(field, 'others');
  const isGet = ({ route }: (typeof fields)[number]) => methodOf(route) === 'GET';
  for (const field of fields.filter(isGet)) await tryAll(field, 'fitting');
  // Who only looks changes nothing, and nor does what no schema takes.
  expect(await state()).toBe(before);
  for (const field of fields.filter((field) => !isGet(field))) {
    const refusedBefore = tried.refused;
    const took = await tryAll(field, 'fitting');
    if (took === 0 && tried.refused === refusedBefore) continue;
    // A name of a coupon is free text, and there is an order for who asks for one: all else leaves everything as it was.
    const after = await state();
    if (took === 0 && after !== before) wrong.push(`${field.name}: something was done`);
    before = after;
  }
  expect(wrong).toEqual([]);
  // Else nothing was tried.
  expect(tried.refused).toBeGreaterThan(1_000);
  expect(tried.taken).toBeGreaterThan(5);
  expect(tried.taken).toBeLessThan(tried.refused / 4);
});
