/** The page can load and run nothing but our own two files, and says nothing to the extension that it may not say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseFromPage } from '../../../src/chat/messages.ts';
import { contentSecurityPolicy, pageHtml } from '../../../src/chat/page.ts';

const SOURCES = {
  cspSource: 'https://here',
  nonce: 'n0nce',
  script: 'https://here/chat.js',
  style: 'https://here/chat.css',
};

test('the policy allows our script by its nonce, our style by its source, and nothing else', () => {
  assert.equal(
    contentSecurityPolicy(SOURCES),
    "default-src 'none'; script-src 'nonce-n0nce'; style-src https://here; base-uri 'none'; form-action 'none'",
  );
});

test('the page has its policy, one script with the nonce, and neither inline styles nor handlers', () => {
  const html = pageHtml(SOURCES);
  assert.ok(html.includes(`content="${contentSecurityPolicy(SOURCES)}"`));
  assert.equal(html.match(/<script /g)?.length, 1);
  assert.ok(html.includes('<script nonce="n0nce" src="https://here/chat.js"></script>'));
  assert.doesNotMatch(html, / on\w+=| style=|<style|<img|<iframe/);
});

test('what the page says is taken as it is meant', () => {
  for (const message of [
    { type: 'ready' },
    { type: 'send', text: 'x' },
    { type: 'stop' },
    { type: 'retry', turn: 'x' },
    { type: 'apply', text: '' },
    { type: 'remove', chip: 'x' },
  ]) {
    assert.deepEqual(parseFromPage({ ...message, more: 1 }), message);
  }
});

for (const rubbish of [
  null,
  'send',
  [],
  {},
  { type: 'run', text: 'x' },
  { type: 'send' },
  { type: 'send', text: 7 },
  { type: 'insert', text: 'x'.repeat(1_000_001) },
  { type: 'retry', turn: {} },
  { type: 'remove' },
]) {
  test(`what it may not say is nothing: ${JSON.stringify(rubbish).slice(0, 60)}`, () => {
    assert.equal(parseFromPage(rubbish), undefined);
  });
}
