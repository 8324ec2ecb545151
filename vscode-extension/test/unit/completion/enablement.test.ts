/** Switches and snoozes do what they say, and a snooze counts its minutes down. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  isPaused,
  minutesLeft,
  nextTick,
  snoozedUntil,
  toggled,
  toggledFor,
} from '../../../src/completion/enablement.ts';

const NOW = 1_000_000;

test('a snooze of five minutes shows 5, 5, 4 … 1, and then nothing', () => {
  const until = snoozedUntil(5, NOW);
  const shown = [0, 1, 60_000, 60_001, 299_999, 300_000].map((passed) => minutesLeft(until, NOW + passed));

  assert.deepEqual(shown, [5, 5, 4, 4, 1, undefined]);
  assert.ok(isPaused(until, NOW + 299_999));
  assert.ok(!isPaused(until, NOW + 300_000));
});

test('the figure changes at the next tick, and not before', () => {
  const until = snoozedUntil(2, NOW);
  for (const passed of [0, 1, 59_999, 60_000, 90_000]) {
    const tick = nextTick(until, NOW + passed);

    assert.ok(tick > 0 && tick <= 60_000);
    assert.notEqual(minutesLeft(until, NOW + passed), minutesLeft(until, NOW + passed + tick));
    assert.equal(minutesLeft(until, NOW + passed), minutesLeft(until, NOW + passed + tick - 1));
  }
});

test('a pause without an end counts nothing down', () => {
  assert.ok(isPaused(Number.POSITIVE_INFINITY, NOW));
  assert.equal(minutesLeft(Number.POSITIVE_INFINITY, NOW), undefined);
});

test('the global switch leaves languages with an entry of their own alone', () => {
  assert.deepEqual(toggled({ '*': true, python: false }), { '*': false, python: false });
  assert.deepEqual(toggled(toggled({ '*': true })), { '*': true });
});

test('a language is switched against the rest, and back without a trace', () => {
  assert.deepEqual(toggledFor({ '*': true }, 'python'), { '*': true, python: false });
  assert.deepEqual(toggledFor({ '*': true, python: false }, 'python'), { '*': true });
  assert.deepEqual(toggledFor({ '*': false }, 'python'), { '*': false, python: true });
});
