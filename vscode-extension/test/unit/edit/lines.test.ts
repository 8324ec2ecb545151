/** The shown difference has both texts in it, whole and in order, however much of the new one is there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { countChanges, freshLines, mergedLines, splitLines } from '../../../src/edit/lines.ts';
import type { Line } from '../../../src/edit/lines.ts';
import { Proposal } from '../../../src/edit/proposal.ts';

const SIGN = { same: ' ', deleted: '-', inserted: '+', pending: '?' };

function shown(lines: readonly Line[]): string[] {
  return lines.map(({ text, state }) => SIGN[state] + text);
}

function oldLines(lines: readonly Line[]): string[] {
  return lines.filter(({ state }) => state !== 'inserted').map(({ text }) => text);
}

test('what goes stands before what comes in its place', () => {
  assert.deepEqual(shown(mergedLines(['a', 'b', 'c', 'd'], ['a', 'x', 'y', 'd', 'e'], true)), [
    ' a',
    '-b',
    '-c',
    '+x',
    '+y',
    ' d',
    '+e',
  ]);
  assert.deepEqual(shown(mergedLines(['a'], ['a'], true)), [' a']);
  assert.deepEqual(shown(mergedLines([], ['a'], true)), ['+a']);
  assert.deepEqual(shown(mergedLines(['a'], [], true)), ['-a']);
});

test('while the new text grows, old lines that it has not come to are pending', () => {
  assert.deepEqual(shown(mergedLines(['a', 'b', 'c'], [], false)), ['?a', '?b', '?c']);
  assert.deepEqual(shown(mergedLines(['a', 'b', 'c'], ['a'], false)), [' a', '?b', '?c']);
  assert.deepEqual(shown(mergedLines(['a', 'b', 'c'], ['a', 'x'], false)), [' a', '-b', '+x', '?c']);
});

test('whatever the two texts are, each can be read out of the lines', () => {
  // A generator with a fixed seed: the same texts in every run.
  let seed = 1;
  const random = (limit: number): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % limit;
  };
  const text = (): string[] => Array.from({ length: random(12) }, () => String(random(4)));
  for (let round = 0; round < 500; round += 1) {
    const [old, fresh, isWhole] = [text(), text(), random(2) === 0];
    const lines = mergedLines(old, fresh, isWhole);
    assert.deepEqual(oldLines(lines), old);
    assert.deepEqual(freshLines(lines), fresh);
    assert.ok(!isWhole || lines.every(({ state }) => state !== 'pending'));
  }
});

test('two long texts without a common line take no long time', { timeout: 5_000 }, () => {
  const many = (mark: string): string[] => Array.from({ length: 20_000 }, (_, index) => `${mark}${String(index)}`);
  const started = performance.now();
  const lines = mergedLines(many('a'), many('b'), true);
  assert.deepEqual(countChanges(lines), { inserted: 20_000, deleted: 20_000 });
  assert.ok(performance.now() - started < 2_000);
});

test('lines end in the three ways that LSP knows', () => {
  assert.deepEqual(splitLines('a\r\nb\rc\nd\n'), ['a', 'b', 'c', 'd', '']);
});

test('a part of a line is shown with the rest of its line', () => {
  const proposal = new Proposal('1', 'x = ', '  # one');
  assert.deepEqual(shown(proposal.lines()), ['?x = 1  # one']);
  proposal.append('2');
  assert.deepEqual(shown(proposal.lines()), ['-x = 1  # one', '+x = 2']);
  proposal.finish();
  assert.deepEqual(shown(proposal.lines()), ['-x = 1  # one', '+x = 2  # one']);
});

test('a line end at the end of what is there so far is no line yet', () => {
  const proposal = new Proposal('a\nb');
  proposal.append('a\n');
  assert.deepEqual(shown(proposal.lines()), [' a', '?b']);
});

test('only a whole text can change nothing', () => {
  const proposal = new Proposal('a\nb');
  proposal.append('a\nb');
  assert.equal(proposal.changesNothing, false);
  proposal.finish();
  assert.equal(proposal.changesNothing, true);
  assert.deepEqual(countChanges(proposal.lines()), { inserted: 0, deleted: 0 });
});

test('an edit that takes everything away shows it', () => {
  const proposal = new Proposal('a\nb');
  proposal.finish();
  assert.deepEqual(freshLines(proposal.lines()), ['']);
  assert.equal(proposal.text, '');
});
