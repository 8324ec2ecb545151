/** A daemon that dies comes back, with pauses that grow; one that keeps dying is left alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { afterDeath, MAX_DEATHS, PAUSES_MS, WINDOW_MS, type Death } from '../../../src/daemon/restarts.ts';

/** The pauses after deaths at these times. */
function pauses(times: readonly number[], atStart = false): (number | undefined)[] {
  let deaths: readonly Death[] = [];
  return times.map((at) => {
    const verdict = afterDeath(deaths, { at, atStart });
    deaths = verdict.deaths;
    return verdict.pauseMs;
  });
}

test('the pauses grow, and the fifth death within three minutes is the end', () => {
  assert.equal(MAX_DEATHS, 5);
  assert.deepEqual(pauses([0, 1, 2, 3, 4]), [...PAUSES_MS, undefined]);
});

test('deaths of more than three minutes ago are forgotten', () => {
  const times = [0, 1, 2, 3, WINDOW_MS + 4];

  assert.deepEqual(pauses(times), [...PAUSES_MS, PAUSES_MS[0]]);
});

test('one death in a quarter of an hour is forgiven for ever', () => {
  const times = Array.from({ length: 50 }, (_, i) => i * 900_000);

  assert.ok(pauses(times).every((pause) => pause === PAUSES_MS[0]));
});

test('a daemon that cannot start is tried twice', () => {
  assert.deepEqual(pauses([0, 1], true), [PAUSES_MS[0], undefined]);
});

test('a start that failed once after a crash is tried again', () => {
  const crashed = afterDeath([], { at: 0, atStart: false });
  const failedOnce = afterDeath(crashed.deaths, { at: 1, atStart: true });

  assert.notEqual(failedOnce.pauseMs, undefined);
});
