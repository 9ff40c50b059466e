import type { Static, TObject, TSchema } from 'typebox';
import Value from 'typebox/value';

/** A service was started with settings that it cannot run with. Nothing had been started. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
  readonly code = 'BAD_SETTINGS';
  /** One sentence for each bad setting. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/**
 * Reads the settings that `schema` names from the environment.
 *
 * A setting that is absent or empty takes the schema's default. Every bad one is named with the rule that it
 * breaks and the value that it had, without the credentials of a URL; of one that is a secret (`writeOnly`), the rule alone.
 *
 * @throws SettingsError  At least one value is missing or bad.
 */
export function readSettings<Schema extends TObject>(
  schema: Schema,
  env: Readonly<Record<string, string | undefined>>,
): Static<Schema> {
  const required = new Set<string>(schema.required);
  const settings: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, property] of Object.entries<TSchema>(schema.properties)) {
    const raw = env[name];
    if (raw === undefined || raw === '') {
      if ('default' in property) settings[name] = property.default;
      else if (required.has(name)) problems.push(`${name} must be set to ${ruleOf(property)}`);
      continue;
    }
    const value = parse(property, raw);
    if (Value.Check(property, value)) settings[name] = value;
    else problems.push(`${name} must be ${ruleOf(property)}${shown(property, raw)}`);
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return settings as Static<Schema>;
}

function shown(property: TSchema, raw: string): string {
  const isSecret = (property as PropertyRule).writeOnly === true;
  return isSecret ? '' : `, got ${JSON.stringify(withoutCredentials(raw))}`;
}

/** What stands where a URL has its credentials, also when it is not quite a URL, and its parameters. */
function withoutCredentials(text: string): string {
  return text.replace(/^([a-z+]*:\/\/)?.*@/is, '$1***@').replace(/\?.*$/s, '?***');
}

interface PropertyRule {
  type?: string;
  minimum?: number;
  maximum?: number;
  pattern?: string;
  anyOf?: readonly { const?: unknown }[];
  /** The rule in words, for a property whose pattern would not be understood. What it means is its `description`. */
  rule?: string;
  /** It is never shown. */
  writeOnly?: boolean;
}

function parse(property: TSchema, raw: string): unknown {
  const { type } = property as PropertyRule;
  if (type === 'integer' || type === 'number') return /^-?\d+(\.\d+)?$/.test(raw) ? Number(raw) : raw;
  if (type === 'boolean')
    return raw === '1' || raw === 'true' ? true : raw === '0' || raw === 'false' ? false : raw;
  return raw;
}

/** What a setting must be, in words, as its error says it. */
export function ruleOf(property: TSchema): string {
  const { type, minimum, maximum, anyOf, rule } = property as PropertyRule;
  if (type === 'integer' || type === 'number') {
    const noun = type === 'integer' ? 'a whole number' : 'a number';
    if (minimum !== undefined && maximum !== undefined) return `${noun} from ${minimum} to ${maximum}`;
    if (minimum !== undefined) return `${noun} ≥ ${minimum}`;
    return noun;
  }
  if (type === 'boolean') return '1 or 0';
  if (anyOf !== undefined) return `one of ${anyOf.map((member) => String(member.const)).join(', ')}`;
  return rule ?? 'text';
}
