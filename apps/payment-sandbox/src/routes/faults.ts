import type { StrictServer } from '@pawl/service-kit';
import { Type } from 'typebox';
import { ErrorBody, refusal, send } from '../answer.ts';
import { RuleBody, readRule } from '../faults/rule.ts';
import type { FaultRules } from '../faults/rules.ts';

const config = { auth: 'lab' } as const;
const errors = { '4xx': ErrorBody, '5xx': ErrorBody };

/** The rules by which answers go wrong: given, listed with what they did, taken back. */
export function registerFaults(app: StrictServer, rules: FaultRules): void {
  app.post(
    '/sandbox/faults',
    {
      config,
      schema: {
        description: 'Adds a rule. It is kept in memory only.',
        body: RuleBody,
        response: { 200: Type.Object({ id: Type.String() }), ...errors },
      },
    },
    async (request, reply) => {
      const reading = readRule(request.body);
      if ('problem' in reading) {
        await send(reply, refusal('INVALID_REQUEST', reading.problem));
        return reply;
      }
      const id = rules.add(request.body, reading.rule);
      if (id !== undefined) return { id };
      await send(reply, refusal('TOO_MANY_FAULTS'));
      return reply;
    },
  );

  app.get(
    '/sandbox/faults',
    {
      config,
      schema: {
        description: 'All rules, those that are used up too, in the order in which they are asked.',
        response: {
          200: Type.Array(
            Type.Object({
              id: Type.String(),
              struck: Type.Integer({ description: 'How many requests it has struck.' }),
              rule: RuleBody,
            }),
          ),
          ...errors,
        },
      },
    },
    async () => rules.list(),
  );

  app.delete(
    '/sandbox/faults',
    { config, schema: { description: 'Takes back all rules.', response: { 204: Type.Null(), ...errors } } },
    async (_request, reply) => {
      rules.clear();
      return reply.code(204).send(null);
    },
  );

  app.delete(
    '/sandbox/faults/:id',
    {
      config,
      schema: {
        description: 'Takes back one rule.',
        params: Type.Object({ id: Type.String() }),
        response: { 204: Type.Null(), ...errors },
      },
    },
    async (request, reply) => {
      if (rules.remove(request.params.id)) return reply.code(204).send(null);
      await send(reply, refusal('NOT_FOUND', 'There is no such rule.'));
      return reply;
    },
  );
}
