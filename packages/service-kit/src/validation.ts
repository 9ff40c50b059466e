import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';

/**
 * Validates as the type provider does. What is right as it came is neither converted nor copied, which costs more than everything
 * else that is done for a short request: most of a query or a path is text, and is wanted as text.
 */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = (route) => {
  const type = Compile(route.schema);
  let converting: ReturnType<typeof TypeBoxValidatorCompiler> | undefined;
  return (value) => {
    if (type.Check(value)) return { value };
    converting ??= TypeBoxValidatorCompiler(route);
    return converting(value);
  };
};
