/** The tooltip shows the heartbeat's figures, and what it quotes is never markup. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bar, bytes, escape, tooltip } from '../../../src/status/tooltip.ts';
import { snapshot } from './snapshot.ts';

test('every figure of the heartbeat that people ask for is in it', () => {
  const text = tooltip(
    'ready, demo',
    snapshot({
      vramUsed: 3 * 2 ** 30,
      vramTotal: 8 * 2 ** 30,
      queued: 2,
      running: 1,
      tokensPerSecond: 41.5,
      lastFirstTokenMs: 43.4,
      suggestionsShownToday: 1200,
      suggestionsAcceptedToday: 300,
      clients: 3,
    }),
  );

  for (const figure of [
    '| VRAM | `██████░░░░░░░░░░` 3.0 of 8.0 GiB |',
    '| RAM | `████░░░░░░░░░░░░` 4.0 of 16.0 GiB |',
    'worker 600 MiB, daemon 45 MiB',
    '1,234 of 4,096',
    '2 waiting, 1 running',
    '41.5 tokens/s',
    '43 ms',
    '1,200 suggestions shown, 300 accepted (25 %)',
    '3 windows',
  ]) {
    assert.ok(text.includes(figure), `${figure} in ${text}`);
  }
});

test('each device has its row, with the part that is ours', () => {
  const gpu = {
    name: 'NVIDIA L4',
    kind: 'gpu' as const,
    vramUsed: 3 * 2 ** 30,
    vramTotal: 24 * 2 ** 30,
    ownBytes: 2 ** 30,
  };
  const text = tooltip(
    'ready',
    snapshot({
      vramUsed: 4 * 2 ** 30,
      vramTotal: 32 * 2 ** 30,
      devices: [gpu, { ...gpu, name: 'Arc', vramTotal: 8 * 2 ** 30, ownBytes: null }, { ...gpu, vramTotal: null }],
    }),
  );

  assert.ok(text.includes('| VRAM | `██░░░░░░░░░░░░░░` 3.0 of 24.0 GiB, 1.0 GiB of it ours, NVIDIA L4 |'), text);
  assert.ok(text.includes('| VRAM | `██████░░░░░░░░░░` 3.0 of 8.0 GiB, Arc |'), text);
  assert.equal(text.match(/VRAM/g)?.length, 2);
});

test('models of several roles, downloads, the battery and a decision are told', () => {
  const model = {
    role: 'fim' as const,
    name: 'small',
    path: '/s',
    state: 'ready' as const,
    loadPercent: 100,
    workerPid: 1,
  };
  const download = { name: 'big', doneBytes: 512 * 2 ** 20, totalBytes: 1024 * 2 ** 20, bytesPerSecond: 20 * 2 ** 20 };
  const text = tooltip(
    'ready',
    snapshot({
      models: [model, { ...model, role: 'chat', name: 'large', path: '/l', state: 'sleeping' }],
      kvBytes: 96 * 2 ** 20,
      battery: { percent: 41, plugged: false },
      downloads: [
        download,
        { ...download, totalBytes: null, bytesPerSecond: null },
        { ...download, doneBytes: 2 ** 20, totalBytes: 2 ** 21, bytesPerSecond: 40 * 2 ** 10 },
      ],
      notice: 'The context was made smaller.',
    }),
  );

  for (const line of [
    '| Ghost text | small |',
    '| Chat | large (sleeping) |',
    '1,234 of 4,096, 96 MiB |',
    '| Battery | 41 % |',
    '| Download | `████████░░░░░░░░` 0.5 of 1.0 GiB, 20 MiB/s, big |',
    '| Download | 512 MiB, big |',
    '| Download | `████████░░░░░░░░` 1 of 2 MiB, 40 KiB/s, big |',
    'The context was made smaller\\.',
  ]) {
    assert.ok(text.includes(line), `${line} in ${text}`);
  }
  assert.ok(!text.includes('| Model |'));
});

test('one model for all roles has one row', () => {
  const model = {
    role: 'fim' as const,
    name: 'demo',
    path: '/d',
    state: 'ready' as const,
    loadPercent: 100,
    workerPid: 1,
  };
  const text = tooltip('ready', snapshot({ models: [model, { ...model, role: 'chat' }] }));

  assert.ok(text.includes('| Model | demo |'));
  assert.ok(!text.includes('| Chat |'));
});

test('one suggestion is one', () => {
  const text = tooltip('ready', snapshot({ suggestionsShownToday: 1, suggestionsAcceptedToday: 1 }));

  assert.ok(text.includes('1 suggestion shown, 1 accepted (100 %)'));
});

test('what is unknown has no line', () => {
  const text = tooltip('ready', snapshot());

  for (const name of ['VRAM', 'First token', 'Speed', 'Shared by', 'Battery', 'Download', 'NaN', 'null']) {
    assert.ok(!text.includes(name), name);
  }
  assert.equal(tooltip('starting', undefined), '**botframework**: starting');
});

test('a bar shows something as soon as there is something, and is full only when all is used', () => {
  const filled = ([used, total]: [number, number]) => bar(used, total).replaceAll(/[^█]/g, '').length;

  assert.deepEqual(
    (
      [
        [0, 100],
        [1, 1000],
        [50, 100],
        [999, 1000],
        [100, 100],
        [200, 100],
        [0, 0],
        [-1, 5],
      ] as [number, number][]
    ).map(filled),
    [0, 1, 8, 15, 16, 16, 0, 0],
  );
  assert.equal(bar(1, 2).length, bar(0, 0).length);
});

test('sizes are in the unit that people read', () => {
  const sizes = [0, 40 * 2 ** 10, 2 ** 20, 45 * 2 ** 20, 1.5 * 2 ** 30];

  assert.deepEqual(sizes.map(bytes), ['0 KiB', '40 KiB', '1 MiB', '45 MiB', '1.5 GiB']);
});

test('a message cannot bring links, commands, images or table cells along', () => {
  const evil = '[x](command:evil) ![i](http://e) | $(bug) <b> `c`\nnew';
  const quoted = escape(evil);

  assert.ok(!/(?<!\\)[[\]()|<>`$!]/.test(quoted), quoted);
  assert.ok(!quoted.includes('\n'));
  assert.ok(
    tooltip('error', snapshot({ state: 'error', error: { kind: 'ModelCorrupt', message: evil } })).includes(quoted),
  );
});
