/** Whatever is wrong with the daemon: one message, with the next step, and no stack trace. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as failures from '../../../src/daemon/failures.ts';

const EXIT = { code: 1, signal: null };

test('a missing file names the setting that names it', () => {
  const told = failures.notFound({ kind: 'missing', setting: 'botframework.path', tried: ['/gone'] });

  assert.equal(told.kind, 'missing');
  assert.match(told.message, /botframework\.path names \/gone/);
});

test('nothing found says where was looked, and what to do', () => {
  const told = failures.notFound({ kind: 'missing', setting: undefined, tried: ['/a', '/b'] });

  assert.match(told.message, /not found.*PATH.*Python.*Install/);
});

test('a Python without the package is told apart', () => {
  const told = failures.notFound({ kind: 'noPackage', setting: 'botframework.interpreter', tried: ['/py'] });

  assert.deepEqual([told.kind, told.message.includes('/py')], ['noPackage', true]);
});

for (const [code, kind] of [
  ['EACCES', 'notExecutable'],
  ['ENOEXEC', 'wrongArchitecture'],
  ['EBADARCH', 'wrongArchitecture'],
  ['UNKNOWN', 'wrongArchitecture'],
  ['ENOENT', 'missing'],
  ['EMFILE', 'crashedAtStart'],
] as const) {
  test(`${code} from spawn is ${kind}`, () => {
    assert.equal(failures.cannotSpawn('/bf', code, 'linux on x64').kind, kind);
  });
}

test('a wrong architecture says for what it was built and what this is', () => {
  const told = failures.wrongArchitecture('/bf', { platform: 'linux', arches: ['arm64'] }, 'linux on x64');

  assert.match(told.message, /\/bf was built for linux on arm64, and this is linux on x64/);
});

test('the side that is older is the one to update', () => {
  assert.match(failures.wrongVersion('0.1.0', undefined, 1).message, /Update the daemon/);
  assert.match(failures.wrongVersion('0.9.0', 2, 1).message, /Update the extension/);
  assert.match(failures.wrongVersion('0.9.0', 1, 2).message, /Update the daemon/);
});

test('a program that calls itself something else is named', () => {
  assert.match(
    failures.notTheDaemon('/bin/pylsp', 'pylsp').message,
    /\/bin\/pylsp is not the botframework daemon.*“pylsp”/,
  );
});

test('the message after a crash ends with the last lines of the log', () => {
  const lines = ['one', '2026-11-21 12:00:00.123 ERROR   4711 two', ' three ', `four ${'x'.repeat(500)}`];
  const told = failures.told(failures.crashed(5, 3, { code: null, signal: 'SIGKILL' }, lines));

  assert.match(told, /ended 5 times in 3 minutes \(last: signal SIGKILL\)/);
  assert.match(told, /It said last: two \| three \| four x+…$/);
  assert.ok(told.length < 600);
});

test('a model that cannot be used says why and what to do, and so does its process', () => {
  const missing = failures.modelProblem({ kind: 'ModelNotFound', message: '/m.gguf: No such file or directory' });
  const dead = failures.modelProblem({ kind: 'WorkerUnavailable', message: 'it died too often.' });

  assert.match(missing, /cannot be used: \/m\.gguf: No such file or directory\. Select another/);
  assert.match(dead, /process does not run: it died too often\. Restart/);
});

test('no last lines, no empty remark about them', () => {
  assert.equal(
    failures.told(failures.crashedAtStart(EXIT, [])),
    'The botframework daemon ended before it answered (exit code 1), twice, and is not started again by itself.',
  );
});
