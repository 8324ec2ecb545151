/** Earlier instructions come back, the last one first. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MAX_REMEMBERED, parseRemembered, remembered } from '../../../src/edit/instructions.ts';

test('the last one is the first, each is there once, and old ones go', () => {
  assert.deepEqual(remembered(['a', 'b'], 'b'), ['b', 'a']);
  const many = Array.from({ length: MAX_REMEMBERED }, (_, index) => String(index));
  assert.deepEqual(remembered(many, 'new'), ['new', ...many.slice(0, -1)]);
});

test('a whole page of text is no phrase to remember', () => {
  assert.deepEqual(remembered(['a'], 'x'.repeat(2_000)), ['a']);
});

test('anything may stand in the storage', () => {
  assert.deepEqual(parseRemembered(undefined), []);
  assert.deepEqual(parseRemembered(['a', 1, null, 'b']), ['a', 'b']);
});
