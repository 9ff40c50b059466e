import { type Browser, chromium } from 'playwright-core';
import { serverFinder } from '../packages/race-lab/src/cluster/find-server.ts';
import { chromiumPackage } from '../scripts/chromium.ts';

/** A browser of its own, without a window. @throws where none is installed */
export async function openChromium(): Promise<Browser> {
  const found = await serverFinder(process.env.PATH ?? '')(chromiumPackage);
  if (!found.found) throw new Error(`the tests need Chromium: ${found.install}`);
  // Its sandbox refuses to run for root.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: found.path, args });
}
