/** The quick pick tells what a model is, how large, and whether it fits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { modelLine, parameters } from '../../../src/models/entries.ts';
import type { ModelEntry } from '../../../src/protocol.ts';

const ENTRY: ModelEntry = {
  name: 'Qwen2.5-Coder',
  path: '/models/q.gguf',
  sizeBytes: 1.5 * 2 ** 30,
  architecture: 'qwen2',
  quantization: 'Q8_0',
  parameters: 1_540_000_000,
  nCtxTrain: 32768,
  canInfill: true,
  hasChatTemplate: true,
  fits: true,
  loaded: false,
  embedded: false,
  configured: false,
  source: 'folder',
  problem: null,
};

test('a whole model has all its figures', () => {
  assert.deepEqual(modelLine(ENTRY), {
    label: '$(package) Qwen2.5-Coder',
    description: 'Q8_0 · 1.5 B parameters · 1.5 GiB',
    detail: 'fits this machine · /models/q.gguf',
  });
});

test('what it cannot do is said', () => {
  const { detail } = modelLine({ ...ENTRY, fits: false, canInfill: false, hasChatTemplate: false });

  assert.match(detail, /does not fit this machine · no ghost text.* · not made for chat/);
});

test('a file that cannot be read says why, and claims nothing', () => {
  const unknown = {
    quantization: null,
    parameters: null,
    nCtxTrain: null,
    canInfill: null,
    hasChatTemplate: null,
    fits: null,
  };
  const line = modelLine({ ...ENTRY, ...unknown, problem: { kind: 'ModelRefused', message: 'not a GGUF' } });

  assert.deepEqual([line.description, line.detail], ['1.5 GiB', '$(error) not a GGUF']);
});

test('the loaded one is marked, the embedded one has no path', () => {
  const line = modelLine({ ...ENTRY, loaded: true, embedded: true });

  assert.ok(line.label.startsWith('$(check)'));
  assert.ok(!line.detail.includes('/models'));
});

test('a name cannot draw icons', () => {
  assert.ok(!modelLine({ ...ENTRY, name: '$(bug)' }).label.includes('$(bug)'));
  assert.ok(!modelLine({ ...ENTRY, path: '/$(bug).gguf' }).detail.includes('$(bug)'));
});

test('a recommended one has its mark, and one of another program is said to be that', () => {
  const line = modelLine({ ...ENTRY, source: 'ollama' }, true, ['chat']);

  assert.ok(line.description.endsWith('for chat and edits · $(star-full) recommended'));
  assert.equal(line.detail, 'fits this machine · from Ollama · /models/q.gguf');
});

test('parameters are counted in millions and billions', () => {
  assert.deepEqual([23_000_000, 494_000_000, 1_540_000_000, 70e9].map(parameters), ['23 M', '494 M', '1.5 B', '70 B']);
});
