/** The daemon is found in the documented order, and an untrusted workspace has no say in it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { find, isFound, type Command, type NotFound, type Surroundings } from '../../../src/daemon/find.ts';

const HERE: Surroundings = {
  platform: 'linux',
  home: '/home/ada',
  path: '',
  interpreter: '',
  extensionPath: '/ext',
  searchPath: '/usr/bin:/work/bin:relative',
  workspaceFolders: ['/work'],
  trusted: true,
};

/** @param files - what exists; those of `packages` are Pythons that have the package */
function search(
  around: Partial<Surroundings>,
  files: readonly string[],
  packages: readonly string[] = [],
  active?: string,
): Promise<Command | NotFound> {
  return find(
    { ...HERE, ...around },
    {
      isFile: (file) => Promise.resolve(files.includes(file) || packages.includes(file)),
      hasPackage: (python) => Promise.resolve(packages.includes(python)),
      activeInterpreter: () => Promise.resolve(active),
    },
  );
}

const EVERYWHERE = ['/set/bf', '/ext/bin/botframework', '/ext/bin/botframework/botframework', '/usr/bin/botframework'];
const PYTHONS = ['/set/python', '/venv/bin/python', '/usr/bin/python3'];

test('the order is setting, extension, PATH, interpreter, Python extension, python3', async () => {
  const around = { path: '/set/bf', interpreter: '/set/python' };
  const order: string[] = [];
  for (const [set, files, pythons] of [
    [around, EVERYWHERE, PYTHONS],
    [{ ...around, path: '' }, EVERYWHERE, PYTHONS],
    [{ ...around, path: '' }, EVERYWHERE.slice(2), PYTHONS],
    [{ ...around, path: '' }, EVERYWHERE.slice(3), PYTHONS],
    [{ ...around, path: '' }, [], PYTHONS],
    [{}, [], PYTHONS],
    [{}, [], PYTHONS.slice(2)],
  ] as const) {
    const found = await search(
      set,
      files,
      pythons,
      pythons.includes('/venv/bin/python') ? '/venv/bin/python' : undefined,
    );
    assert.ok(isFound(found));
    order.push(found.command);
  }

  assert.deepEqual(order, [...EVERYWHERE, ...PYTHONS]);
});

test('a Python is started with the module, and without looking for it in the folder where it starts', async () => {
  const found = await search({}, [], ['/usr/bin/python3']);

  assert.deepEqual(found, { origin: 'pythonOnPath', command: '/usr/bin/python3', args: ['-P', '-m', 'botframework'] });
});

test('a path that is set and not there is an error, whatever else there is', async () => {
  const found = await search({ path: '/gone' }, EVERYWHERE, PYTHONS);

  assert.deepEqual(found, { kind: 'missing', setting: 'botframework.path', tried: ['/gone'] });
});

test('an interpreter that is set and not there, or without the package, is an error', async () => {
  const gone = await search({ interpreter: '/gone' }, [], PYTHONS);
  const bare = await search({ interpreter: '/bare' }, ['/bare'], PYTHONS);

  assert.ok(!isFound(gone) && !isFound(bare));
  assert.deepEqual([gone.kind, gone.setting], ['missing', 'botframework.interpreter']);
  assert.deepEqual([bare.kind, bare.setting], ['noPackage', 'botframework.interpreter']);
});

test('a Python without the package is passed over', async () => {
  const found = await search({}, ['/venv/bin/python'], ['/usr/bin/python3'], '/venv/bin/python');

  assert.ok(isFound(found));
  assert.equal(found.command, '/usr/bin/python3');
});

test('nothing found names no setting', async () => {
  const found = await search({}, []);

  assert.ok(!isFound(found));
  assert.equal(found.setting, undefined);
});

test('the tilde is the home folder', async () => {
  const found = await search({ path: ' ~/bin/bf ' }, ['/home/ada/bin/bf']);

  assert.ok(isFound(found));
  assert.equal(found.command, '/home/ada/bin/bf');
});

test('a trusted workspace may bring a PATH entry and an interpreter', async () => {
  const program = await search({}, ['/work/bin/botframework']);
  const python = await search({}, [], ['/work/.venv/bin/python'], '/work/.venv/bin/python');

  assert.ok(isFound(program) && isFound(python));
  assert.deepEqual([program.command, python.command], ['/work/bin/botframework', '/work/.venv/bin/python']);
});

test('an untrusted workspace brings neither', async () => {
  const files = ['/work/bin/botframework', '/work/bin/python3', '/work/.venv/bin/python'];
  const found = await search({ trusted: false }, files, files, '/work/.venv/bin/python');

  assert.ok(!isFound(found));
  assert.ok(found.tried.every((file) => !file.startsWith('/work')));
});

test('a folder that only begins like the workspace is not inside it', async () => {
  const found = await search({ trusted: false, searchPath: '/work-tools' }, ['/work-tools/botframework']);

  assert.ok(isFound(found));
});

test('relative entries of the PATH are never looked at', async () => {
  const found = await search({}, ['relative/botframework']);

  assert.ok(!isFound(found));
});

test('on Windows the program ends with .exe and the PATH is divided by semicolons', async () => {
  const around = {
    platform: 'win32',
    extensionPath: 'C:\\ext',
    searchPath: 'C:\\Windows;D:\\tools',
    workspaceFolders: ['C:\\work'],
  } as const;
  const found = await search(around, ['D:\\tools\\botframework.exe']);
  const python = await search(around, [], ['D:\\tools\\python.exe']);

  assert.ok(isFound(found) && isFound(python));
  assert.deepEqual([found.command, python.command], ['D:\\tools\\botframework.exe', 'D:\\tools\\python.exe']);
});

test('on Windows the case of a workspace folder does not matter', async () => {
  const around = {
    platform: 'win32',
    extensionPath: 'C:\\ext',
    searchPath: 'c:\\WORK\\bin',
    workspaceFolders: ['C:\\work'],
    trusted: false,
  } as const;
  const found = await search(around, ['c:\\WORK\\bin\\botframework.exe']);

  assert.ok(!isFound(found));
});
