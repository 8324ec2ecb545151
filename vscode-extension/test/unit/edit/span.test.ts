/** What is being edited is found again after changes elsewhere, and a change inside it is seen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { moved } from '../../../src/edit/span.ts';
import type { Change } from '../../../src/edit/span.ts';

const TEXT = 'one [two] three';
const SPAN = { start: TEXT.indexOf('['), end: TEXT.indexOf(']') + 1 };

function change(rangeOffset: number, rangeLength: number, text: string): Change {
  return { rangeOffset, rangeLength, text };
}

/** What the span covers after the changes were made, as an editor makes them. */
function covered(...changes: Change[]): string {
  const text = [...changes]
    .sort((one, other) => other.rangeOffset - one.rangeOffset)
    .reduce(
      (before, { rangeOffset, rangeLength, text: fresh }) =>
        before.slice(0, rangeOffset) + fresh + before.slice(rangeOffset + rangeLength),
      TEXT,
    );
  const { start, end } = moved(SPAN, changes);
  return text.slice(start, end);
}

test('changes before and behind it leave it what it is', () => {
  assert.equal(covered(change(0, 0, 'zero ')), '[two]');
  assert.equal(covered(change(0, 3, '')), '[two]');
  assert.equal(covered(change(SPAN.start, 0, 'x')), '[two]');
  assert.equal(covered(change(SPAN.end, 0, 'x')), '[two]');
  assert.equal(covered(change(SPAN.end, 6, '')), '[two]');
});

test('several changes at once count from the text before all of them, in any order', () => {
  const changes = [change(0, 1, 'OOO'), change(2, 1, ''), change(SPAN.end + 1, 5, 'x')];
  assert.equal(covered(...changes), '[two]');
  assert.equal(covered(...changes.reverse()), '[two]');
});

test('a change inside it, or over its edge, is within it afterwards', () => {
  assert.equal(covered(change(SPAN.start + 1, 3, 'deux')), '[deux]');
  assert.equal(covered(change(SPAN.start - 2, 4, 'X')), 'Xwo]');
  assert.equal(covered(change(SPAN.end - 2, 4, 'X')), '[twX');
  assert.equal(covered(change(0, TEXT.length, 'X')), 'X');
});

test('an empty place stays behind what is put before it', () => {
  assert.deepEqual(moved({ start: 4, end: 4 }, [change(4, 0, 'ab')]), { start: 6, end: 6 });
});
