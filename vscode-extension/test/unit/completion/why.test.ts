/** "Why no suggestion?" names the first thing that stands in the way, in words, and shows the prompt unharmed. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { fenced, page, verdict, type Situation } from '../../../src/completion/why.ts';
import type { InspectResult } from '../../../src/protocol.ts';

const ANSWER: InspectResult = {
  shown: false,
  reason: 'onlyClosers',
  detail: '',
  source: '',
  timings: { queueMs: 0.4, firstTokenMs: 12.6, promptMs: 8, decodeMs: 30 },
  visits: 0,
  found: true,
  order: 'psm',
  typed: 'after',
  prompt: '<PRE>def f():\n```\n<SUF><MID>',
  head: '',
  suffix: '',
  middle: '',
  held: 're',
  promptTokens: 20,
  cachedTokens: 18,
  evaluatedTokens: 2,
  isShort: true,
  reanchors: 0,
};

function situation(changes: Partial<Situation>): Situation {
  return {
    name: 'a.py',
    language: 'python',
    isEnabled: true,
    isPaused: false,
    state: 'running',
    failure: undefined,
    snapshot: undefined,
    answer: ANSWER,
    problem: undefined,
    ...changes,
  };
}

test('what is nearest to the user is told first', () => {
  const everything = {
    failure: 'No file.',
    isEnabled: false,
    isPaused: true,
    answer: undefined,
    problem: 'Too large.',
  };

  assert.match(verdict(situation(everything)), /There is no daemon\. No file\./);
  assert.match(verdict(situation({ ...everything, failure: undefined })), /switched off for python/);
  assert.match(verdict(situation({ ...everything, failure: undefined, isEnabled: true })), /paused/);
  assert.match(verdict(situation({ answer: undefined, problem: 'Too large.' })), /Too large/);
  assert.match(verdict(situation({ answer: undefined, state: 'starting' })), /starting.*Try again/);
});

test('every reason of the protocol has a sentence of its own', () => {
  const schema = JSON.parse(readFileSync(new URL('../../../../schemas/lsp.json', import.meta.url), 'utf8')) as {
    $defs: { InspectResult: { properties: { reason: { enum: InspectResult['reason'][] } } } };
  };
  const reasons = schema.$defs.InspectResult.properties.reason.enum.filter((reason) => reason !== '');
  const sentences = reasons.map((reason) => verdict(situation({ answer: { ...ANSWER, reason } })));

  assert.ok(reasons.length >= 14);
  assert.equal(new Set(sentences).size, reasons.length);
  assert.ok(sentences.every((sentence) => /^[A-Z].*\.$/.test(sentence)));
});

test('a suggestion that was shown is no mystery', () => {
  const answer: InspectResult = { ...ANSWER, shown: true, reason: '', source: 'prefetched' };

  assert.match(verdict(situation({ answer })), /was sent.*computed before the editor asked/);
});

test('the detail stands behind the reason', () => {
  const answer: InspectResult = { ...ANSWER, reason: 'noModel', detail: 'ModelNotFound' };

  assert.match(verdict(situation({ answer })), /\(ModelNotFound\)$/);
});

test('the page holds the exact prompt, whatever backticks are in it', () => {
  const text = page(situation({}));

  assert.ok(text.includes(`\`\`\`\`text\n${ANSWER.prompt}\n\`\`\`\``));
  assert.match(text, /20 tokens, of which 18 were known and 2 had to be read/);
  assert.match(text, /first token after 13 ms/);
});

test('without a prompt the page is the verdict alone', () => {
  const text = page(situation({ answer: { ...ANSWER, found: false, reason: 'notAsked' } }));

  assert.ok(!text.includes('##'));
});

test('a fence is longer than every run of backticks inside', () => {
  assert.equal(fenced('a'), '```text\na\n```');
  assert.ok(fenced('`````').startsWith('``````text'));
});
