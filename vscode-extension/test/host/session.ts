/** What other parts and other extensions get from `activate`: requests, streams, and errors that can be told. */
import * as assert from 'node:assert/strict';

import * as vscode from 'vscode';

import { pid, ready } from './daemon.ts';
import { test, until } from './suite.ts';

function conversation(words: string): { messages: { role: 'user'; content: string }[] } {
  return { messages: [{ role: 'user', content: words }] };
}

function forever(): vscode.CancellationToken {
  return new vscode.CancellationTokenSource().token;
}

test('an answer streams in order, and its end says why it ended', async () => {
  const session = await ready();
  const pieces: string[] = [];

  const result = await session.stream(
    'botframework/chat',
    conversation('tokens=5'),
    (text) => pieces.push(text),
    forever(),
  );

  assert.equal(pieces.join(''), '0 1 2 3 4 ');
  assert.equal(result.text, '');
  assert.equal(result.finishReason, 'stop');
});

test('a stream can be stopped', async () => {
  const session = await ready();
  const source = new vscode.CancellationTokenSource();
  const answer = session.stream(
    'botframework/chat',
    conversation('tokens=9999 pause_ms=20'),
    () => {
      source.cancel();
    },
    source.token,
  );

  await assert.rejects(answer, { name: 'DaemonError', kind: 'RequestCancelled' });
});

test('a refusal has the kind that the protocol names', async () => {
  const session = await ready();
  const answer = session.request('botframework/chat', conversation('fail=ServerBusy'));

  await assert.rejects(answer, { name: 'DaemonError', kind: 'ServerBusy' });
});

test('a daemon that dies in the middle of a stream ends the stream with an error, and comes back', async () => {
  const session = await ready();
  const dying = await pid();
  const answer = session.stream(
    'botframework/chat',
    conversation('tokens=9999 pause_ms=20'),
    () => {
      process.kill(dying, 'SIGKILL');
    },
    forever(),
  );

  await assert.rejects(answer, { name: 'DaemonError', kind: 'DaemonDied' });

  await until(async () => (await pid()) !== dying);
  await until(() => session.state === 'running' && session.snapshot?.state === 'ready');
});
