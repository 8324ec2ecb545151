/** A program that is not this extension's daemon is known by its first words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { looksLikeMessage, within, wrongPartner } from '../../../src/daemon/handshake.ts';
import { protocolVersion } from '../../../src/protocol.ts';

function answer(name: string | undefined, spoken: unknown): Parameters<typeof wrongPartner>[1] {
  const experimental = spoken === undefined ? undefined : { botframework: { protocolVersion: spoken } };
  return { capabilities: { experimental }, ...(name === undefined ? {} : { serverInfo: { name, version: '0.1.0' } }) };
}

test('a header is a message, also in other case and in pieces', () => {
  for (const text of ['Content-Length: 5\r\n\r\n', 'content-type: x', 'CONTENT-', 'Con', 'C', '']) {
    assert.ok(looksLikeMessage(Buffer.from(text)), text);
  }
});

test('usage texts, prompts, logs and binary data are none', () => {
  for (const text of ['Usage: botframework FILE', '>>> ', '\n', 'Contest', '\u0000\u0001', 'INFO starting']) {
    assert.ok(!looksLikeMessage(Buffer.from(text)), text);
  }
});

test('our daemon in our version is the right partner', () => {
  assert.equal(wrongPartner('/bf', answer('botframework', protocolVersion)), undefined);
});

test('another server, an older and a newer daemon are told apart', () => {
  const kinds = [
    wrongPartner('/bf', answer('pylsp', protocolVersion)),
    wrongPartner('/bf', answer(undefined, undefined)),
    wrongPartner('/bf', undefined),
    wrongPartner('/bf', answer('botframework', undefined)),
    wrongPartner('/bf', answer('botframework', protocolVersion + 1)),
    wrongPartner('/bf', answer('botframework', String(protocolVersion))),
  ].map((failure) => failure?.kind);

  assert.deepEqual(kinds, [
    'notTheDaemon',
    'notTheDaemon',
    'notTheDaemon',
    'wrongVersion',
    'wrongVersion',
    'wrongVersion',
  ]);
});

test('waiting has an end', async () => {
  assert.equal(await within(5, new Promise(() => undefined)), undefined);
  assert.equal(await within(5_000, Promise.resolve(1)), 1);
});
