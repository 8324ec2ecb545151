/** One model may do everything, or each its part; the settings say it so that the next daemon does the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { chosenSettings, servedRoles } from '../../../src/models/roles.ts';
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
  assert.deepEqual(servedRoles(file('/a'), serving('/a', '/b')), ['ghost text']);
  assert.deepEqual(servedRoles(file('/b'), serving('/a', '/b')), ['chat and edits']);
  assert.deepEqual(servedRoles(file('/c'), serving('/a', '/b')), []);
  assert.deepEqual(servedRoles(file('/a'), []), []);
});

test('a model for everything takes the place of those that were set apart', () => {
  assert.deepEqual(chosenSettings({ path: '/a', embedded: false }, []), {
    model: '/a',
    'models.fim': undefined,
    'models.chat': undefined,
  });
  assert.equal(chosenSettings({ path: '/embedded', embedded: true }, [])['model'], undefined);
});

test('a model for one role leaves the others', () => {
  assert.deepEqual(chosenSettings({ path: '/embedded', embedded: true }, ['chat']), { 'models.chat': '/embedded' });
});
