import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ClusterSetupError } from './errors.ts';

/** The main files of the services that a cluster runs, absolute. */
export interface ServiceMains {
  shop: string;
  sandbox: string;
}

/**
 * The shop and the payment sandbox of the checkout that this package is part of.
 *
 * @throws ClusterSetupError  NOT_A_CHECKOUT: the package was installed alone.
 */
export function checkoutMains(): ServiceMains {
  const root = new URL('../../../../', import.meta.url);
  const shop = fileURLToPath(new URL('apps/shop/src/main.ts', root));
  const sandbox = fileURLToPath(new URL('apps/payment-sandbox/src/main.ts', root));
  for (const main of [shop, sandbox]) {
    if (existsSync(main)) continue;
    throw new ClusterSetupError(
      'NOT_A_CHECKOUT',
      `${main} does not exist: the shop and the payment sandbox are started from a checkout of the repository`,
    );
  }
  return { shop, sandbox };
}
