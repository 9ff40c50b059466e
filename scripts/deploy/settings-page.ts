import { settingsSchema as sandboxSettings } from '../../apps/payment-sandbox/src/config.ts';
import { settingsSchema as shopSettings } from '../../apps/shop/src/config.ts';
import { ruleOf } from '../../packages/service-kit/src/index.ts';

/** A service's settings, as its schema says them: a TypeBox object. */
export interface SettingsSchema {
  readonly required?: readonly string[];
  readonly properties: Readonly<Record<string, SettingSchema>>;
}

type SettingSchema = Parameters<typeof ruleOf>[0] & {
  readonly default?: unknown;
  readonly description?: string;
};

const HEAD = `# Settings

Made by \`npm run settings\` from the schemas by which the services read their environment (\`apps/shop/src/config.ts\`,
\`apps/payment-sandbox/src/config.ts\`). A setting that is absent or empty takes its default. A service that is given a bad one names it, and
all others that are bad, and ends with exit code 254.
`;

/** `deploy/SETTINGS.md`. */
export function settingsPage(): string {
  return [
    HEAD,
    `## Shop\n\n${settingsTable(shopSettings)}`,
    `## Payment sandbox\n\n${settingsTable(sandboxSettings)}`,
  ].join('\n');
}

/** The settings that say nowhere what they mean. */
export function settingsWithoutMeaning(): string[] {
  return [shopSettings, sandboxSettings].flatMap(({ properties }: SettingsSchema) =>
    Object.keys(properties).filter((name) => (properties[name]?.description ?? '') === ''),
  );
}

function settingsTable({ properties, required = [] }: SettingsSchema): string {
  const rows = Object.entries(properties).map(([name, property]) => [
    `\`${name}\``,
    ruleOf(property),
    defaultOf(property, required.includes(name)),
    property.description ?? '',
  ]);
  const lines = [['setting', 'must be', 'default', 'meaning'], ['---', '---', '---', '---'], ...rows];
  return lines.map((cells) => `| ${cells.map(cell).join(' | ')} |\n`).join('');
}

function defaultOf(property: SettingSchema, isRequired: boolean): string {
  if ('default' in property) return `\`${shown(property.default)}\``;
  return isRequired ? 'required' : 'none';
}

/** As it would be written into the environment. */
function shown(value: unknown): string {
  return typeof value === 'boolean' ? String(Number(value)) : String(value);
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
