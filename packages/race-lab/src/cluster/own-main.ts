import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The path of a program of this folder: TypeScript in the repository, JavaScript when published. */
export function ownMain(name: string): string {
  return fileURLToPath(new URL(`${name}${extname(import.meta.url)}`, import.meta.url));
}
