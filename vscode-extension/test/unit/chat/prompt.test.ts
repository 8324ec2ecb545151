/** The model is told the conversation in turns, with the context before the question that it belongs to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Answer, Attachment, Conversation, Turn } from '../../../src/chat/conversation.ts';
import { MAX_ATTACHMENT_CHARACTERS, cutToLimit, rangeLabel, requestMessages } from '../../../src/chat/prompt.ts';

function turn(
  question: string,
  text: string,
  attachments: readonly Attachment[] = [],
  state: Answer['state'] = 'done',
): Turn {
  return { id: question, question, attachments, answer: { text, state, note: '', problem: '' } };
}

function conversation(...turns: Turn[]): Conversation {
  return { id: 'c', title: 't', changedAt: 0, turns };
}

function attachment(text: string, more: Partial<Attachment> = {}): Attachment {
  return {
    uri: 'file:///main.py',
    label: 'main.py:1-2',
    languageId: 'python',
    text,
    isCut: false,
    isWholeFile: false,
    ...more,
  };
}

function told(...turns: Turn[]): string[] {
  const last = turns.at(-1);
  assert.ok(last);
  return requestMessages(conversation(...turns), last).map(({ role, content }) => `${role}: ${content}`);
}

test('questions and answers alternate; the last question has no answer yet', () => {
  assert.deepEqual(told(turn('a', 'A'), turn('b', 'B'), turn('c', 'half', [], 'failed')), [
    'user: a',
    'assistant: A',
    'user: b',
    'assistant: B',
    'user: c',
  ]);
});

test('a question without any answer is left out, one with half an answer is not', () => {
  assert.deepEqual(told(turn('a', '', [], 'failed'), turn('b', 'hal', [], 'stopped'), turn('c', '')), [
    'user: b',
    'assistant: hal',
    'user: c',
  ]);
});

test('context stands before its question, in a fence that its own text cannot close', () => {
  assert.deepEqual(told(turn('why?', '', [attachment('x = 1\n')])), [
    'user: main.py:1-2:\n```python\nx = 1\n```\n\nwhy?',
  ]);
  assert.deepEqual(told(turn('why?', '', [attachment('a ````b')])), [
    'user: main.py:1-2:\n`````python\na ````b\n`````\n\nwhy?',
  ]);
});

test('a file of which only the beginning fits is called so', () => {
  assert.match(
    told(turn('why?', '', [attachment('x\n', { isCut: true, label: 'main.py' })]))[0] ?? '',
    /^user: The beginning of main.py:/,
  );
});

test('a long text is cut behind a line, or within a line that is too long, but never within a character', () => {
  assert.deepEqual(cutToLimit('short'), { text: 'short', isCut: false });
  assert.deepEqual(cutToLimit('abc\ndef\nghi', 9), { text: 'abc\ndef\n', isCut: true });
  assert.deepEqual(cutToLimit('abc\ndef', 4), { text: 'abc\n', isCut: true });
  assert.deepEqual(cutToLimit('abcdef', 3), { text: 'abc', isCut: true });
  const { text } = cutToLimit(`a${'😀'.repeat(MAX_ATTACHMENT_CHARACTERS)}`);
  assert.doesNotMatch(text, /\p{Surrogate}/u);
  assert.ok(text.length <= MAX_ATTACHMENT_CHARACTERS);
});

test('a label names the lines', () => {
  assert.equal(rangeLabel('main.py', 3, 9), 'main.py:3-9');
  assert.equal(rangeLabel('main.py', 3, 3), 'main.py:3');
});
