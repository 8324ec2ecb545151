/** What is recommended is what can run here and is not there yet, with its reasons. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { explanation, machineWords, suggestionLine, suggestions } from '../../../src/models/suggestions.ts';
import type { HardwareSummary, Recommendation } from '../../../src/protocol.ts';

const BEST: Recommendation = {
  modelId: 'coder-7b',
  name: 'Coder 7B',
  role: 'fim',
  repository: 'maker/coder-GGUF',
  quantization: 'Q4_K_M',
  reference: 'hf:maker/coder-GGUF:Q4_K_M',
  parameters: 7_600_000_000,
  licence: 'apache-2.0',
  estimatedBytes: 4.5 * 2 ** 30,
  placement: 'gpu',
  contextTokens: 32_768,
  scores: { size: 100, precision: 87.4, kv: 50, performance: null, density: null },
  total: 81.6,
  reasons: ['The weights take a third of the GPU.', 'Its number format has room.'],
  installedPath: null,
};

const MACHINE: HardwareSummary = {
  cpu: 'cpu',
  physicalCores: 4,
  logicalCores: 8,
  instructionSets: [],
  ramTotal: 16 * 2 ** 30,
  ramAvailable: 8 * 2 ** 30,
  memoryBandwidthGbS: null,
  unifiedMemory: false,
  gpus: [],
  battery: null,
};

function other(name: string, changes: Partial<Recommendation> = {}): Recommendation {
  return { ...BEST, name, reference: `hf:maker/${name}:Q4_K_M`, ...changes };
}

test('three for each role, the first choices first', () => {
  const names = ['a', 'b', 'c', 'd'];
  const chats = names.map((name) => other(`${name}-chat`, { role: 'chat' }));
  const found = suggestions([...names.map((name) => other(name)), ...chats]);

  assert.deepEqual(
    found.map(({ recommendation }) => recommendation.name),
    ['a', 'a-chat', 'b', 'b-chat', 'c', 'c-chat'],
  );
});

test('of two roles the one counts for which more speaks', () => {
  const [first] = suggestions([other('a'), BEST, { ...BEST, role: 'chat', reasons: ['A first choice.'] }]).slice(1);

  assert.deepEqual([first?.recommendation.reasons, first?.roles], [['A first choice.'], ['fim', 'chat']]);
});

test('a model for two roles is offered once', () => {
  const [found, ...more] = suggestions([BEST, { ...BEST, role: 'chat' }]);

  assert.deepEqual([found?.roles, more], [['fim', 'chat'], []]);
});

test('what cannot run and what nobody asks for is not offered', () => {
  const found = suggestions([other('large', { placement: 'none' }), other('vectors', { role: 'embed' }), BEST]);

  assert.deepEqual(
    found.map(({ recommendation }) => recommendation.name),
    ['Coder 7B'],
  );
});

test('a row tells size, place, licence and the first reason', () => {
  assert.deepEqual(suggestionLine({ recommendation: BEST, roles: ['fim', 'chat'] }), {
    label: '$(cloud-download) Coder 7B',
    description: 'Q4_K_M · 7.6 B parameters · about 4.5 GiB',
    detail: 'for ghost text, chat and edits · on the GPU · apache-2.0 · ' + 'The weights take a third of the GPU.',
  });
});

test('a licence that is not known is not claimed, and nothing of the catalog draws icons', () => {
  const line = suggestionLine({
    recommendation: { ...BEST, licence: null, name: '$(bug)', reasons: [] },
    roles: ['fim'],
  });

  assert.deepEqual([line.label, line.detail], ['$(cloud-download) (bug)', 'for ghost text · on the GPU']);
});

test('the explanation has every reason and every score, and does not hide what is unknown', () => {
  const text = explanation({ recommendation: BEST, roles: ['fim'] });

  for (const part of [...BEST.reasons, '82 of 100', 'size 100', 'precision 87', 'speed unknown']) {
    assert.ok(text.includes(part), `${part} in ${text}`);
  }
});

test('the machine is told in few words', () => {
  const gpu = {
    name: 'NVIDIA L4',
    vendor: 'nvidia' as const,
    driver: '550',
    vramTotal: 24 * 2 ** 30,
    vramFree: null,
    bandwidthGbS: 300,
    isIntegrated: false,
    isUsable: true,
  };

  assert.equal(machineWords(MACHINE), '16.0 GiB of memory, no GPU');
  assert.equal(
    machineWords({ ...MACHINE, gpus: [gpu, { ...gpu, name: 'Arc', vramTotal: null }] }),
    '16.0 GiB of memory, NVIDIA L4 with 24.0 GiB, Arc',
  );
});
