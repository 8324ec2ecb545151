/** Code from an answer fits in where it goes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { indentedLike } from '../../../src/edit/indentation.ts';

test('it gets the indentation of what it replaces, and keeps its own steps', () => {
  assert.equal(indentedLike('    a\n    b', '', 'if x:\n    y\n\nz'), '    if x:\n        y\n\n    z');
  assert.equal(indentedLike('a', '', '    b\n      c'), 'b\n  c');
  assert.equal(indentedLike('\t\ta', '', 'b\n\tc'), '\t\tb\n\t\t\tc');
});

test('what stands before a selection on its line is not put there twice', () => {
  assert.equal(indentedLike('a\n    b', '    ', 'c\nd'), 'c\n    d');
});

test('a line end behind it is there if what it replaces has one', () => {
  assert.equal(indentedLike('a\n', '', 'b'), 'b\n');
  assert.equal(indentedLike('a', '', 'b\n\n'), 'b');
  assert.equal(indentedLike('a\r\n', '', 'b\r\nc'), 'b\nc\n');
});

test('a part of a line is replaced by the code as it is', () => {
  assert.equal(indentedLike('1', 'x = ', '  2\n'), '  2\n');
});

test('empty lines do not count, and get no blanks', () => {
  assert.equal(indentedLike('\n    a\n\n', '', 'b\n   \nc'), '    b\n\n    c\n');
  assert.equal(indentedLike('    a\n\n    b', '', 'x\n\ny'), '    x\n\n    y');
});
