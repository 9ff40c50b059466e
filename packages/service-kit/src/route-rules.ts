import type { FastifyInstance, FastifyPluginAsync, FastifyPluginCallback, FastifySchema } from 'fastify';

/** Who may call a route. What that means is the service's to say. */
export type AuthRule = 'public' | 'member' | 'operator' | 'provider-key' | 'scraper' | 'lab';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route. Every route states it. */
    auth?: AuthRule;
  }
  interface FastifyInstance {
    /** For the routes of a plugin that knows nothing of our rules (`adoptRoutes`). */
    adopted?: RouteRules;
  }
}

/** A route that was registered. */
export interface RegisteredRoute {
  readonly method: string;
  /** The pattern of its address, as `/api/orders/:orderId`. */
  readonly url: string;
  readonly auth: AuthRule;
}

export interface RouteRules {
  readonly auth: AuthRule;
  readonly response: NonNullable<FastifySchema['response']>;
}

/**
 * From now on a route without a schema of its answers or without an auth rule fails its registration.
 *
 * @returns  the routes, as they come; HEAD, which a GET brings with it, is not among them
 */
export function enforceRouteRules(app: FastifyInstance): readonly RegisteredRoute[] {
  const routes: RegisteredRoute[] = [];
  app.addHook('onRoute', function (route) {
    if (this.adopted !== undefined) {
      const { auth, response } = this.adopted;
      route.config = { auth, ...route.config };
      route.schema = { response, ...route.schema };
    }
    const auth = route.config?.auth;
    for (const method of [route.method].flat()) {
      if (route.schema?.response === undefined) throw new Error(`${method} ${route.url} has no schema`);
      if (auth === undefined) throw new Error(`${method} ${route.url} has no auth rule`);
      if (method !== 'HEAD') routes.push({ method, url: route.url, auth });
    }
  });
  return routes;
}

/**
 * Registers somebody else's plugin, whose routes say neither what they answer nor who may call them: all of them are given
 * `rules`. Nothing else of the server is exempt from stating its own.
 */
export async function adoptRoutes<Options extends object>(
  app: FastifyInstance,
  rules: RouteRules,
  plugin: FastifyPluginCallback<Options> | FastifyPluginAsync<Options>,
  options: Options,
): Promise<void> {
  await app.register(async (scope) => {
    scope.decorate('adopted', rules);
    await scope.register(plugin as FastifyPluginAsync<object>, options);
  });
}
