import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readIdempotencyHeader } from '../../src/http/index.ts';

const key = (text: string) => ({ kind: 'key', key: text });
const invalid = { kind: 'invalid', why: expect.stringMatching(/^Idempotency-Key must .*\.$/) };

describe('the value of Idempotency-Key', () => {
  test.each([
    ['absent', undefined, { kind: 'missing' }],
    ['without quotes', '8e03978e-40d5-43e8-bc93-6894a57f9324', key('8e03978e-40d5-43e8-bc93-6894a57f9324')],
    ['in quotes', '"8e03978e-40d5-43e8-bc93-6894a57f9324"', key('8e03978e-40d5-43e8-bc93-6894a57f9324')],
    ['with blanks around it', '  "k" ', key('k')],
    ['with blanks in quotes', '" a b "', key(' a b ')],
    ['with a comma in quotes', '"a,b"', key('a,b')],
    ['with what is escaped in quotes', '"\\"\\\\"', key('"\\')],
    ['with a backslash, without quotes', 'a\\b', key('a\\b')],
    ['of 255 characters', 'k'.repeat(255), key('k'.repeat(255))],
    ['of 255 characters, each of which is escaped', `"${'\\"'.repeat(255)}"`, key('"'.repeat(255))],
    ['empty', '', invalid],
    ['of blanks', '  ', invalid],
    ['of empty quotes', '""', invalid],
    ['of 256 characters', 'k'.repeat(256), invalid],
    ['of 256 characters in quotes', `"${'k'.repeat(256)}"`, invalid],
    ['of two headers', 'k1, k2', invalid],
    ['of two headers that were joined without a blank', 'k1,k2', invalid],
    ['of two quoted headers', '"k1", "k2"', invalid],
    ['with a blank', 'a b', invalid],
    ['with a parameter', '"k";a=1', invalid],
    ['with a quote that does not end', '"k', invalid],
    ['with a quote that ends only', 'k"', invalid],
    ['with another escape', '"\\n"', invalid],
    ['that ends in a backslash', '"k\\"', invalid],
    ['with a tab', 'a\tb', invalid],
    ['with a NUL', 'a\0b', invalid],
    ['with a NUL in quotes', '"a\0b"', invalid],
    ['with a line feed at its end', '"k"\n"', invalid],
    ['with DEL', 'a\x7fb', invalid],
    ['with a letter that is not ASCII', 'clé', invalid],
    ['with a letter that is not ASCII in quotes', '"clé"', invalid],
  ])('%s', (_, value, expected) => {
    expect(readIdempotencyHeader(value)).toEqual(expected);
  });

  test('any text of visible ASCII and blanks comes back from its quoted form, and without quotes it is itself or refused', () => {
    const ascii = fc.string({
      unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
    });
    fc.assert(
      fc.property(
        ascii.filter((text) => text !== '' && text.length <= 255),
        (text) => {
          expect(readIdempotencyHeader(`"${text.replace(/["\\]/g, '\\$&')}"`)).toEqual(key(text));
          const bare = text.trim();
          if (bare.startsWith('"')) return;
          expect([key(bare), { kind: 'invalid', why: expect.any(String) }]).toContainEqual(
            readIdempotencyHeader(text),
          );
        },
      ),
    );
  });
});
