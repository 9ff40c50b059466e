import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { copiedBody, watchBody } from '../../src/http/copied-body.ts';

const LIMIT = 10;

/** A body that comes when it is pushed, as that of a request of Node's does. */
function arriving(): Readable {
  return new Readable({ read: () => undefined });
}

test('what is pushed is copied, and is read by its parser itself', async () => {
  const body = arriving();
  watchBody(body, LIMIT);
  const copied = copiedBody(body, LIMIT);
  expect(copied.payload).toBe(body);
  for (const piece of ['pa', 'id']) body.push(Buffer.from(piece));
  expect(copied.bytes()).toBeUndefined();
  body.push(null);
  // Nobody has read it yet.
  expect(copied.bytes()).toBeUndefined();
  expect(await buffer(copied.payload)).toEqual(Buffer.from('paid'));
  expect(copied.bytes()).toEqual(Buffer.from('paid'));
});

test.each([
  ['some of it has come already', (body: Readable) => body.push(Buffer.from('pa')), 'paid'],
  [
    'somebody else changes what is pushed',
    (body: Readable) => Object.assign(body, { push: changedPush }),
    'xx',
  ],
])('where %s, what its parser reads is copied', async (_, happens, expected) => {
  const body = arriving();
  happens(body);
  watchBody(body, LIMIT);
  const copied = copiedBody(body, LIMIT);
  for (const piece of ['i', 'd']) body.push(Buffer.from(piece));
  body.push(null);
  expect(await buffer(copied.payload)).toEqual(Buffer.from(expected));
  expect(copied.bytes()).toEqual(Buffer.from(expected));
});

test('of what a hook has made of the body the copy is of what was made', async () => {
  const body = arriving();
  watchBody(body, LIMIT);
  const made = new PassThrough();
  const copied = copiedBody(made, LIMIT);
  body.push(Buffer.from('zipped'));
  body.push(null);
  body.resume();
  made.end('plain');
  expect(await buffer(copied.payload)).toEqual(Buffer.from('plain'));
  expect(copied.bytes()).toEqual(Buffer.from('plain'));
});

test.each([
  ['watched', true],
  ['piped', false],
])('no more than the limit is copied: %s', async (_, isWatched) => {
  for (const bytes of [LIMIT, LIMIT + 1]) {
    const body = arriving();
    if (isWatched) watchBody(body, LIMIT);
    const copied = copiedBody(body, LIMIT);
    body.push(Buffer.alloc(bytes - 1));
    body.push(Buffer.alloc(1));
    body.push(null);
    await buffer(copied.payload);
    expect(copied.bytes()?.byteLength).toBe(bytes === LIMIT ? LIMIT : undefined);
  }
});

function changedPush(this: Readable, chunk: Buffer | null): boolean {
  return Readable.prototype.push.call(this, chunk?.fill('x') ?? null);
}
