import Type from 'typebox';
import { expect, test } from 'vitest';
import { readSettings, SettingsError } from '../src/index.ts';

const schema = Type.Object({
  PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: 8080 }),
  LEASE_MS: Type.Integer({ minimum: 100, default: 1000 }),
  RATIO: Type.Number({ minimum: 0, maximum: 1, default: 0.5 }),
  MODE: Type.Union([Type.Literal('fast'), Type.Literal('safe')], { default: 'safe' }),
  DEBUG: Type.Boolean({ default: false }),
  URL: Type.String({ pattern: '^https?://', rule: 'an http:// URL' }),
  NAME: Type.Optional(Type.String()),
});
const enough = { URL: 'http://x' };

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    readSettings(schema, env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

test('what is absent or empty takes its default; what may be absent is', () => {
  const defaults = { PORT: 8080, LEASE_MS: 1000, RATIO: 0.5, MODE: 'safe', DEBUG: false, URL: 'http://x' };
  expect(readSettings(schema, enough)).toEqual(defaults);
  expect(readSettings(schema, { ...enough, PORT: '', MODE: '' })).toEqual(defaults);
});

test('text becomes what the schema says, and never stays text', () => {
  const env = { ...enough, PORT: '5', RATIO: '0.25', MODE: 'fast', DEBUG: '1', NAME: '7' };
  expect(readSettings(schema, env)).toMatchObject({
    PORT: 5,
    RATIO: 0.25,
    MODE: 'fast',
    DEBUG: true,
    NAME: '7',
  });
});

test.each([
  [{ ...enough, LEASE_MS: '5s' }, 'LEASE_MS must be a whole number ≥ 100, got "5s"'],
  [{ ...enough, LEASE_MS: '99' }, 'LEASE_MS must be a whole number ≥ 100, got "99"'],
  [{ ...enough, PORT: '1.5' }, 'PORT must be a whole number from 0 to 65535, got "1.5"'],
  [{ ...enough, PORT: '0x10' }, 'PORT must be a whole number from 0 to 65535, got "0x10"'],
  [{ ...enough, PORT: ' 5' }, 'PORT must be a whole number from 0 to 65535, got " 5"'],
  [{ ...enough, RATIO: '2' }, 'RATIO must be a number from 0 to 1, got "2"'],
  [{ ...enough, MODE: 'Fast' }, 'MODE must be one of fast, safe, got "Fast"'],
  [{ ...enough, DEBUG: 'yes' }, 'DEBUG must be 1 or 0, got "yes"'],
  [{ URL: 'ftp://x' }, 'URL must be an http:// URL, got "ftp://x"'],
  [{}, 'URL must be set to an http:// URL'],
])('a bad setting is named with its rule and its value: %o', (env, problem) => {
  expect(problemsOf(env)).toEqual([problem]);
});

test('all bad settings are named at once', () => {
  expect(problemsOf({ PORT: 'x', LEASE_MS: 'y' })).toHaveLength(3);
});
