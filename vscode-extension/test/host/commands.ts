/** The commands, run as a keybinding or another extension would. */
import * as assert from 'node:assert/strict';

import * as vscode from 'vscode';

import { extension, journal, ready, starts } from './daemon.ts';
import { test, until } from './suite.ts';

const run = vscode.commands.executeCommand;

interface Manifest {
  readonly contributes: { readonly commands: readonly { readonly command: string }[] };
}

function enabled(): Record<string, boolean> {
  return vscode.workspace.getConfiguration('botframework').get('enable') ?? {};
}

async function pythonFile(): Promise<vscode.TextDocument> {
  const document = await vscode.workspace.openTextDocument({ language: 'python', content: 'total = 1\n' });
  await vscode.window.showTextDocument(document);
  return document;
}

test('every declared command can be run', async () => {
  await ready();
  const { contributes } = extension().packageJSON as Manifest;
  const registered = new Set(await vscode.commands.getCommands(true));
  const missing = contributes.commands.map(({ command }) => command).filter((command) => !registered.has(command));

  assert.deepEqual(missing, []);
});

test('restart gives another process', async () => {
  const session = await ready();
  const before = await starts();

  await run('botframework.restart');
  await ready();

  assert.equal(session.state, 'running');
  assert.equal(await starts(), before + 1);
});

test('pause and resume reach the daemon', async () => {
  const session = await ready();

  await run('botframework.pause');
  await until(() => session.snapshot?.state === 'paused');
  await run('botframework.resume');

  await until(() => session.snapshot?.state === 'ready');
});

test('a pause outlives a restart of the daemon', async () => {
  const session = await ready();
  await run('botframework.pause');
  await until(() => session.snapshot?.state === 'paused');

  await run('botframework.restart');

  await until(() => session.state === 'running' && session.snapshot?.state === 'paused');
  await run('botframework.resume');
  await until(() => session.snapshot?.state === 'ready');
});

test('a snooze takes its minutes as an argument', async () => {
  const session = await ready();

  await run('botframework.snooze', 5);
  await until(() => session.snapshot?.state === 'paused');

  await run('botframework.resume');
  await until(() => session.snapshot?.state === 'ready');
});

test('suggestions are switched off and on for all languages', async () => {
  await ready();

  await run('botframework.toggle');
  assert.equal(enabled()['*'], false);
  await run('botframework.toggle');

  assert.equal(enabled()['*'], true);
});

test('suggestions are switched off and on for the language of the file', async () => {
  await ready();
  await pythonFile();

  await run('botframework.toggleLanguage');
  assert.equal(enabled()['python'], false);
  assert.equal(enabled()['*'], true);
  await run('botframework.toggleLanguage');

  assert.notEqual(enabled()['python'], false);
});

test('"why nothing?" opens a page that answers', async () => {
  await ready();
  await pythonFile();

  await run('botframework.why');

  await until(() => vscode.window.activeTextEditor?.document.getText().startsWith('# Suggestions in') === true);
});

test('what was read can be forgotten', async () => {
  const before = (await journal()).length;

  await run('botframework.clearSessions');

  const since = (await journal()).slice(before);
  assert.ok(since.some((entry) => entry.event === 'clear'));
});
