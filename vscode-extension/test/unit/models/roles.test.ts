/** One model may do everything, or each its part; the settings say it so that the next daemon does the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chosenSettings, forRoles, isServed, servedRoles } from '../../../src/models/roles.ts';
import type { ModelEntry, RoleModel } from '../../../src/protocol.ts';

function serving(...paths: [string, string]): RoleModel[] {
  const model = { name: 'm', state: 'ready' as const, loadPercent: 100, workerPid: 1 };
  return [
    { ...model, role: 'fim', path: paths[0] },
    { ...model, role: 'chat', path: paths[1] },
  ];
}

function file(path: string): ModelEntry {
  return { path } as ModelEntry;
}

test('what a model does is said where it does not do everything', () => {
  assert.deepEqual(servedRoles(file('/a'), serving('/a', '/a')), []);
  assert.deepEqual(servedRoles(file('/a'), serving('/a', '/b')), ['fim']);
  assert.deepEqual(servedRoles(file('/b'), serving('/a', '/b')), ['chat']);
  assert.deepEqual(servedRoles(file('/c'), serving('/a', '/b')), []);
  assert.deepEqual(servedRoles(file('/a'), []), []);
});

test('roles that the extension has no use for are none of its own', () => {
  const [fim, chat] = serving('/a', '/a');
  assert.ok(fim !== undefined && chat !== undefined);

  assert.deepEqual((['fim', 'chat', 'embed', 'rerank'] as const).filter(isServed), ['fim', 'chat']);
  assert.deepEqual(servedRoles(file('/a'), [fim, chat, { ...fim, role: 'embed', path: '/vectors' }]), []);
  assert.equal(forRoles(['fim', 'chat']), 'for ghost text, chat and edits');
});

const NOTHING = new Map<string, unknown>();
const EMBEDDED = { path: '/1.0/embedded', embedded: true };

test('a model for everything takes the place of those that were set apart', () => {
  assert.deepEqual(chosenSettings({ path: '/a', embedded: false }, [], NOTHING), {
    model: '/a',
    'models.fim': undefined,
    'models.chat': undefined,
  });
});

test('a model for one role leaves the others', () => {
  const present = new Map([['model', '/a']]);

  assert.deepEqual(chosenSettings({ path: '/b', embedded: false }, ['chat'], present), { 'models.chat': '/b' });
});

test('the embedded model is chosen without its path, which the next version does not have', () => {
  const set = new Map([
    ['model', '/a'],
    ['models.fim', ''],
    ['models.chat', '/c'],
  ]);
  const nothing = { model: undefined, 'models.fim': undefined, 'models.chat': undefined };

  assert.deepEqual(chosenSettings(EMBEDDED, [], set), nothing);
  assert.deepEqual(chosenSettings(EMBEDDED, ['fim'], NOTHING), nothing);
  assert.deepEqual(chosenSettings(EMBEDDED, ['fim'], set), { ...nothing, 'models.chat': '/c' });
  assert.deepEqual(chosenSettings(EMBEDDED, ['chat'], set), { ...nothing, 'models.fim': '/a' });
});
