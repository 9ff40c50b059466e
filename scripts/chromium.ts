import type { ServerPackage } from '../packages/race-lab/src/cluster/find-server.ts';

/** The browser in which the tests open pages. */
export const chromiumPackage: ServerPackage = {
  programs: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
  debian: ['chromium'],
  homebrew: '--cask chromium',
};
