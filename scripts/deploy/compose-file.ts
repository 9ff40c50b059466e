import { parseDocument } from 'yaml';

/** What the rules look at, of a file that the Compose specification has accepted. */
export interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes?: Readonly<Record<string, unknown>>;
}

export interface ComposeService {
  readonly image?: string;
  readonly build?: string | { readonly context?: string; readonly dockerfile?: string };
  readonly pull_policy?: string;
  readonly command?: string | readonly string[];
  readonly environment?: Readonly<Record<string, string | number | boolean | null>> | readonly string[];
  readonly ports?: readonly (string | number | { readonly host_ip?: string; readonly target?: number })[];
  readonly volumes?: readonly (string | { readonly source?: string; readonly target?: string })[];
  readonly depends_on?: readonly string[] | Readonly<Record<string, { readonly condition: string }>>;
  readonly deploy?: {
    readonly resources?: { readonly limits?: { readonly cpus?: string | number; readonly memory?: string } };
  };
  readonly healthcheck?: { readonly test?: string | readonly string[]; readonly disable?: boolean };
  readonly logging?: { readonly options?: Readonly<Record<string, string | number | null>> };
  readonly restart?: string;
  readonly stop_grace_period?: string;
  readonly network_mode?: string;
  readonly privileged?: boolean;
  readonly init?: boolean;
}

/** A Compose file as `docker compose` reads it: anchors merged. Problems are those of YAML itself. */
export function readYaml(text: string): { readonly file: unknown; readonly problems: readonly string[] } {
  const document = parseDocument(text, { merge: true, uniqueKeys: true });
  // The first line; those after it show the place once more.
  const problems = [...document.errors, ...document.warnings].map(({ message }) =>
    message.replace(/\n.*/s, ''),
  );
  return { file: problems.length === 0 ? document.toJS() : undefined, problems };
}

/** `${NAME:-default}`, which is the only substitution that is used. */
const WITH_DEFAULT = /\$\{\w+:-([^}]*)\}/g;

/** What `environmentOf` could not read. */
export function environmentProblems([name, { environment = {} }]: [string, ComposeService]): string[] {
  if (Array.isArray(environment)) return [`${name}: environment must be a map`];
  return Object.entries(environment)
    .filter(([, value]) => /\$/.test(String(value).replaceAll(WITH_DEFAULT, '').replaceAll('$$', '')))
    .map(([setting]) => `${name}: ${setting} must substitute as \${NAME:-default}`);
}

/** A service's environment as its process sees it where whoever starts it has set nothing: of `${NAME:-default}` the default. */
export function environmentOf({ environment = {} }: ComposeService): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).map(([setting, value]) => [
      setting,
      String(value ?? '')
        .replaceAll(WITH_DEFAULT, '$1')
        .replaceAll('$$', '$'),
    ]),
  );
}
