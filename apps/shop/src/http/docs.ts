import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { adoptRoutes, type StrictServer } from '@pawl/service-kit';
import type { FastifySchema, RouteOptions } from 'fastify';
import Type from 'typebox';

/** Of the API, not of the package. */
const API_VERSION = '1';

const TOKEN = {
  type: 'http',
  scheme: 'bearer',
  bearerFormat: 'JWT',
  description: 'HS256; `sub` is the member’s id in decimal digits, `role` is `operator` for operators.',
} as const;
const MEMBER_ID = {
  type: 'apiKey',
  in: 'header',
  name: 'X-Member-Id',
  description: 'Demo mode: whoever asks says who he is, and is member 1 when he does not.',
} as const;

/** What is on the page comes from here, and it talks to nobody else. */
const CSP = {
  'default-src': ["'self'"],
  'img-src': ["'self'", 'data:'],
  // The page's own style sheets put some in line.
  'style-src': ["'self'", "'unsafe-inline'"],
  'object-src': ["'none'"],
  'frame-ancestors': ["'none'"],
};

/** The API of this instance: for people at `/docs`, as OpenAPI 3.1 at `/docs/json` and `/docs/yaml`. Before the routes. */
export async function describeRoutes(
  app: StrictServer,
  { hasTokens }: { hasTokens: boolean },
): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'The shop of Pawl',
        description: 'Lotto tickets that are paid once, and coupons of which everybody gets one.',
        version: API_VERSION,
      },
      components: { securitySchemes: hasTokens ? { token: TOKEN } : { memberId: MEMBER_ID } },
      tags: ['orders', 'tickets', 'coupons', 'members', 'service'].map((name) => ({ name })),
    },
    convertConstToEnum: false,
    transform: ({ schema, url, route }) => ({ schema: described(schema, route, hasTokens), url }),
  });
}

/** The page itself. After `describeRoutes`. */
export async function showDescription(app: StrictServer): Promise<void> {
  const rules = { auth: 'public', response: { '2xx': Type.Unknown() } } as const;
  await adoptRoutes(app, rules, swaggerUi, { routePrefix: '/docs', staticCSP: CSP });
}

/** What the route's auth rule means for who asks: the rule that is enforced is the one that is shown. */
function described(schema: FastifySchema, { config }: RouteOptions, hasTokens: boolean): FastifySchema {
  const rule = config?.auth;
  if (rule === 'public') return { ...schema, security: [] };
  if (!hasTokens) return { ...schema, security: rule === 'member' ? [{}, { memberId: [] }] : [] };
  const description = `For ${rule}s.`;
  return { description, ...schema, security: [{ token: [] }] };
}
