/** The daemon hears what somebody set, from those who may set it, and nothing that it could not use. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import {
  behaviour,
  check,
  differing,
  enablement,
  isCompletionEnabled,
  isEnabledFor,
  refusals,
  startOptions,
  type Inspected,
  type Property,
  type Setting,
} from '../../src/settings.ts';

interface Manifest {
  contributes: { configuration: { properties: Record<string, Property> }[] };
}

const MANIFEST = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as Manifest;
const PROPERTIES = Object.assign({}, ...MANIFEST.contributes.configuration.map((part) => part.properties)) as Record<
  string,
  Property
>;

/** Every setting of package.json, with these values. */
function settings(values: Record<string, Inspected>): Setting[] {
  const known = Object.keys(PROPERTIES).map((name) => name.replace('botframework.', ''));
  assert.deepEqual(
    Object.keys(values).filter((key) => !known.includes(key)),
    [],
  );
  return known.map((key) => ({ key, property: PROPERTIES[`botframework.${key}`] ?? {}, inspected: values[key] ?? {} }));
}

test('nothing set, nothing sent: the user’s botframework.toml is weaker than the editor', () => {
  assert.deepEqual(startOptions(settings({}), true), { workspaceTrusted: true });
  assert.deepEqual(behaviour(settings({}), true), {});
});

test('a model that is chosen for everything leaves none set apart, and what is so already is not written again', () => {
  const wanted = { model: '/m.gguf', 'models.fim': undefined, 'models.chat': undefined };
  const apart = settings({ 'models.fim': { globalValue: '/f.gguf' }, 'models.chat': { globalValue: '/c.gguf' } });
  const chosen = settings({ model: { globalValue: '/m.gguf' } });
  const ofAWorkspace = settings({ model: { workspaceValue: '/m.gguf' } });

  assert.deepEqual(differing(apart, wanted), Object.entries(wanted));
  assert.deepEqual(differing(chosen, wanted), []);
  assert.deepEqual(differing(ofAWorkspace, wanted), [['model', '/m.gguf']]);
});

test('what belongs to the machine goes with initialize, behaviour does not', () => {
  const set = settings({
    model: { globalValue: '/m.gguf' },
    'engine.nThreads': { globalValue: 4 },
    'completion.maxTokens': { globalValue: 64 },
    'sessions.snapshots': { globalValue: false },
  });

  assert.deepEqual(startOptions(set, true), {
    workspaceTrusted: true,
    model: '/m.gguf',
    engine: { nThreads: 4 },
    sessions: { snapshots: false },
  });
  assert.deepEqual(behaviour(set, true), { completion: { maxTokens: 64 }, sessions: { snapshots: false } });
});

test('the extension’s own settings are never sent', () => {
  const set = settings({
    path: { globalValue: '/bf' },
    interpreter: { globalValue: '/py' },
    enable: { globalValue: { python: false } },
  });

  assert.deepEqual([startOptions(set, true), behaviour(set, true)], [{ workspaceTrusted: true }, {}]);
});

for (const trusted of [true, false]) {
  test(`a workspace, ${trusted ? 'trusted' : 'untrusted'}, sets nothing that belongs to the machine`, () => {
    const machine = Object.entries(PROPERTIES).filter(([, property]) => property.scope === 'machine');
    const evil = Object.fromEntries(
      machine.map(([name]) => [
        name.replace('botframework.', ''),
        { workspaceValue: '/evil', workspaceFolderValue: '/evil' },
      ]),
    );
    const sent = JSON.stringify([startOptions(settings(evil), trusted), behaviour(settings(evil), trusted)]);

    assert.ok(machine.length > 10);
    assert.ok(!sent.includes('evil'), sent);
  });
}

test('an untrusted workspace sets no behaviour either', () => {
  const set = settings({
    'chat.systemPrompt': { workspaceValue: 'obey' },
    'completion.maxTokens': { globalValue: 64, workspaceValue: 512 },
    enable: { globalValue: { python: true }, workspaceValue: { '*': false, python: false } },
  });

  assert.deepEqual(behaviour(set, false), { completion: { maxTokens: 64 } });
  assert.deepEqual(enablement(set, false), { '*': true, python: true });
  assert.deepEqual(startOptions(set, false), { workspaceTrusted: false });
});

test('a trusted workspace goes over the user, and its folder over it', () => {
  const set = settings({ 'completion.maxTokens': { globalValue: 1, workspaceValue: 2, workspaceFolderValue: 3 } });

  assert.deepEqual(behaviour(set, true), { completion: { maxTokens: 3 } });
});

test('a workspace can switch snapshots off and not on', () => {
  assert.deepEqual(behaviour(settings({ 'sessions.snapshots': { workspaceValue: false } }), true), {
    sessions: { snapshots: false },
  });
  assert.deepEqual(
    behaviour(settings({ 'sessions.snapshots': { globalValue: false, workspaceValue: true } }), true),
    {},
  );
  assert.deepEqual(
    startOptions(settings({ 'sessions.snapshots': { globalValue: false, workspaceValue: true } }), true),
    {
      workspaceTrusted: true,
      sessions: { snapshots: false },
    },
  );
});

test('values of a wrong type or outside the limits are refused in words and not sent', () => {
  const set = settings({
    'completion.maxTokens': { globalValue: 'many' },
    'completion.temperature': { globalValue: 9 },
    'chat.trim': { globalValue: 'yes' },
    'engine.kvType': { globalValue: 'q2' },
    'engine.nThreads': { globalValue: 1.5 },
    'completion.debounceMs': { globalValue: null },
  });

  assert.deepEqual(startOptions(set, true), { workspaceTrusted: true });
  assert.deepEqual(behaviour(set, true), {});
  assert.deepEqual(Object.fromEntries(refusals(set, true).map(({ key, message }) => [key, message])), {
    'completion.maxTokens': 'must be a whole number, not "many"',
    'completion.temperature': 'must be 0 to 5, not 9',
    'chat.trim': 'must be true or false, not "yes"',
    'engine.kvType': 'must be one of "f16", "q8_0", not "q2"',
    'engine.nThreads': 'must be a whole number or null, not 1.5',
  });
});

test('a wrong model is for the daemon to report, since no other model may take its place', () => {
  const set = settings({ model: { globalValue: 5 } });

  assert.deepEqual(startOptions(set, true), { workspaceTrusted: true, model: 5 });
  assert.deepEqual(refusals(set, true), []);
});

test('an empty text means that nothing is set', () => {
  assert.deepEqual(startOptions(settings({ model: { globalValue: '' } }), true), { workspaceTrusted: true });
});

test('a language has its own switch, and * stands for the others', () => {
  const enabled = enablement(settings({ enable: { globalValue: { '*': false, python: true } } }), true);

  assert.deepEqual([isEnabledFor(enabled, 'python'), isEnabledFor(enabled, 'rust')], [true, false]);
  assert.ok(isEnabledFor(enablement(settings({ enable: { globalValue: 'nonsense' } }), true), 'rust'));
  assert.ok(isEnabledFor({ '*': true }, 'toString'));
});

test('the daemon’s own switch counts where it may be set', () => {
  const off = settings({ 'completion.enabled': { workspaceValue: false } });

  assert.deepEqual([isCompletionEnabled(off, true), isCompletionEnabled(off, false)], [false, true]);
  assert.ok(isCompletionEnabled(settings({}), true));
});

test('when every language is off the daemon is told to read nothing ahead', () => {
  const off = settings({ enable: { globalValue: { '*': false } }, 'completion.enabled': { globalValue: true } });

  assert.deepEqual(behaviour(off, true), { completion: { enabled: false } });
});

test('a table of switches names the entry that is wrong', () => {
  assert.equal(
    check(PROPERTIES['botframework.enable'] ?? {}, { python: 'off' }),
    'must be true or false for "python", not "off"',
  );
});
