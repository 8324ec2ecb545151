/** Settings, changed as the settings editor changes them. */
import * as assert from 'node:assert/strict';

import * as vscode from 'vscode';

import { askedTokens, complete, DEFAULT_TOKENS, journal, ready, starts, withSetting } from './daemon.ts';
import { test, until } from './suite.ts';

test('behaviour is pushed to the daemon that runs', async () => {
  const session = await ready();
  const before = await starts();

  await withSetting('completion.maxTokens', 33, async () => {
    await until(async () => {
      await complete(session);
      return (await askedTokens()) === 33;
    });
  });

  assert.equal(await starts(), before);
});

test('a setting that is taken away leaves the default', async () => {
  const session = await ready();

  await until(async () => {
    await complete(session);
    return (await askedTokens()) === DEFAULT_TOKENS;
  });
});

test('a value of the wrong type is not sent, and the daemon lives', async () => {
  const session = await ready();
  const before = await starts();

  await withSetting('completion.maxTokens', 'as many as you can', async () => {
    await complete(session);
    assert.equal(await askedTokens(), DEFAULT_TOKENS);
  });

  assert.equal(session.state, 'running');
  assert.equal(await starts(), before);
});

test('a setting of the machine starts the daemon anew', async () => {
  await ready();
  const before = await starts();

  await withSetting('engine.nThreads', 1, async () => {
    await until(async () => (await starts()) > before);
    await ready();
  });

  await until(async () => (await starts()) > before + 1);
  await ready();
});

test('the daemon hears that the workspace is trusted', async () => {
  await ready();

  const started = (await journal()).filter((entry) => entry.event === 'settings');

  assert.equal(vscode.workspace.isTrusted, true);
  assert.equal(started.at(-1)?.['trusted'], true);
});
