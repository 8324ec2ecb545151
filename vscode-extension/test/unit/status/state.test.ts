/** The status bar tells each state apart, by icon and in words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Download } from '../../../src/protocol.ts';
import { statusOf, type StatusInput } from '../../../src/status/state.ts';
import { snapshot } from './snapshot.ts';

function input(changes: Partial<StatusInput> = {}): StatusInput {
  return {
    state: 'running',
    failure: undefined,
    snapshot: snapshot(),
    minutesLeft: undefined,
    isPaused: false,
    switchedOffFor: undefined,
    ...changes,
  };
}

function shown(changes: Partial<StatusInput>): [string, string] {
  const { state, text } = statusOf(input(changes));
  return [state, text];
}

test('each state has its icon', () => {
  assert.deepEqual(shown({ state: 'starting', snapshot: undefined }), ['starting', '$(loading~spin) starting']);
  assert.deepEqual(shown({ snapshot: undefined }), ['starting', '$(loading~spin) starting']);
  assert.deepEqual(shown({ state: 'restarting', snapshot: undefined }), ['starting', '$(loading~spin) restarting']);
  assert.deepEqual(shown({ snapshot: snapshot({ state: 'loading', loadPercent: 42.7 }) }), [
    'loading',
    '$(loading~spin) loading 42 %',
  ]);
  assert.deepEqual(shown({}), ['ready', '$(sparkle) demo']);
  assert.deepEqual(shown({ snapshot: snapshot({ running: 1, tokensPerSecond: 41.6 }) }), [
    'busy',
    '$(sync~spin) demo 42 tok/s',
  ]);
  assert.deepEqual(shown({ snapshot: snapshot({ state: 'paused' }) }), ['paused', '$(debug-pause) demo']);
  assert.deepEqual(shown({ isPaused: true }), ['paused', '$(debug-pause) demo']);
  assert.deepEqual(shown({ isPaused: true, minutesLeft: 4 }), ['paused', '$(debug-pause) 4 min']);
  assert.deepEqual(shown({ switchedOffFor: 'rust' }), ['off', '$(circle-slash) demo']);
  assert.deepEqual(shown({ snapshot: snapshot({ state: 'stopped' }) }), ['noModel', '$(circle-slash) no model']);
  assert.deepEqual(shown({ snapshot: snapshot({ state: 'sleeping' }) }), ['sleeping', '$(circle-outline) demo']);
  assert.deepEqual(shown({ state: 'failed', failure: 'No file.', snapshot: undefined }), [
    'error',
    '$(error) botframework',
  ]);
});

test('a model that is not there is no model, a model that is broken is an error', () => {
  const missing = statusOf(
    input({ snapshot: snapshot({ state: 'error', error: { kind: 'ModelNotFound', message: 'gone' } }) }),
  );
  const broken = statusOf(
    input({ snapshot: snapshot({ state: 'error', error: { kind: 'ModelCorrupt', message: 'bad' } }) }),
  );

  assert.deepEqual([missing.state, missing.colour, missing.words], ['noModel', 'warning', 'no model: gone']);
  assert.deepEqual([broken.state, broken.colour, broken.words], ['error', 'error', 'error: bad']);
});

test('a screen reader hears words and no icons', () => {
  const rates: [Partial<StatusInput>, string][] = [
    [{ snapshot: snapshot({ tokensPerSecond: 7.25 }) }, 'ready, demo, 7.3 tokens per second'],
    [{ minutesLeft: 1 }, 'snoozed for 1 minute, demo'],
    [{ switchedOffFor: 'rust' }, 'off for rust, demo'],
    [{ state: 'failed', failure: 'No file.' }, 'error: No file.'],
  ];
  for (const [changes, words] of rates) {
    assert.equal(statusOf(input(changes)).words, words);
  }
});

test('a download is seen beside whatever else goes on', () => {
  const half = { name: 'q', doneBytes: 50, totalBytes: 100, bytesPerSecond: null };
  const unknown = { ...half, totalBytes: null };
  const status = (...downloads: Download[]) => statusOf(input({ snapshot: snapshot({ downloads }) }));

  assert.equal(status(half).text, '$(sparkle) demo $(cloud-download) 50 %');
  assert.equal(status(half).words, 'ready, demo, downloading a model, 50 %');
  assert.equal(status(half, { ...half, doneBytes: 0 }).words, 'ready, demo, downloading 2 models, 25 %');
  assert.equal(status(half, unknown).text, '$(sparkle) demo $(cloud-download)');
  assert.equal(status().text, '$(sparkle) demo');
});

test('a model’s name can neither draw icons nor fill the bar', () => {
  const { text } = statusOf(input({ snapshot: snapshot({ modelName: `$(bug)${'x'.repeat(200)}` }) }));

  assert.ok(!text.includes('$(bug)'));
  assert.ok(text.length < 50);
});

test('while a snooze lasts a crash is still seen', () => {
  assert.equal(statusOf(input({ state: 'failed', failure: 'dead', minutesLeft: 3, isPaused: true })).state, 'error');
});
