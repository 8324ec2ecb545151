/** Conversations survive a reload, stay within their limits, and nothing in the storage can break them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  MAX_CONVERSATION_CHARACTERS,
  MAX_QUESTION_CHARACTERS,
  MAX_TITLE_CHARACTERS,
  MAX_TURNS,
  titleFrom,
  whyNotAsk,
} from '../../../src/chat/conversation.ts';
import type { Turn } from '../../../src/chat/conversation.ts';
import { Conversations, MAX_CONVERSATIONS, MAX_STORED_CHARACTERS } from '../../../src/chat/conversations.ts';

/** As a folder: what comes back has been JSON meanwhile. */
class Memory {
  readonly texts = new Map<string, string>();
  failures = 0;

  read(): Promise<unknown[]> {
    return Promise.resolve([...this.texts.values()].map((text) => JSON.parse(text) as unknown));
  }

  write(id: string, value: unknown): Promise<void> {
    if (this.failures > 0) {
      this.failures -= 1;
      return Promise.reject(new Error('the disk is full'));
    }
    this.texts.set(id, JSON.stringify(value));
    return Promise.resolve();
  }

  remove(id: string): Promise<void> {
    this.texts.delete(id);
    return Promise.resolve();
  }
}

/** The conversations after a reload of the window. */
async function reloaded(memory: Memory): Promise<Conversations> {
  const conversations = new Conversations(memory, clock());
  await conversations.load();
  return conversations;
}

function clock(): () => number {
  let now = 0;
  return () => (now += 1);
}

function answered(conversations: Conversations, question: string, answer: string): Turn {
  const turn = conversations.ask(conversations.active, question, []);
  turn.answer.text = answer;
  turn.answer.state = 'done';
  return turn;
}

test('what was said is there after a reload, and the last used conversation is shown', async () => {
  const memory = new Memory();
  const before = new Conversations(memory, clock());
  answered(before, 'first question', 'first answer');
  const first = before.active;
  before.startNew();
  answered(before, 'second question', 'second answer');
  before.touch(first);
  await before.save();

  const after = await reloaded(memory);
  assert.equal(after.active.id, first.id);
  assert.deepEqual(
    after.active.turns.map((turn) => [turn.question, turn.answer.text]),
    [['first question', 'first answer']],
  );
  assert.deepEqual(
    after.list().map(({ title }) => title),
    ['first question', 'second question'],
  );
});

test('what was asked before the storage was read is neither lost nor hidden', async () => {
  const memory = new Memory();
  const before = new Conversations(memory);
  answered(before, 'old question', 'old answer');
  await before.save();

  const after = new Conversations(memory);
  answered(after, 'quick question', 'quick answer');
  await after.load();
  assert.equal(after.active.title, 'quick question');
  assert.equal(after.list().length, 2);
});

test('an answer that was being written when the window went is there as far as it came, and stopped', async () => {
  const memory = new Memory();
  const before = new Conversations(memory);
  before.ask(before.active, 'question', []).answer.text = 'half an ans';
  await before.save();

  assert.deepEqual((await reloaded(memory)).active.turns[0]?.answer, {
    text: 'half an ans',
    state: 'stopped',
    note: '',
    problem: '',
  });
});

test('only what has changed is written, and what could not be written is written the next time', async () => {
  const memory = new Memory();
  const conversations = new Conversations(memory);
  const turn = answered(conversations, 'question', 'early');
  await conversations.save();
  memory.texts.clear();
  await conversations.save();
  assert.equal(memory.texts.size, 0);

  turn.answer.text = 'late';
  conversations.touch(conversations.active);
  memory.failures = 1;
  await assert.rejects(conversations.save(), /disk is full/);
  await conversations.save();
  assert.equal((await reloaded(memory)).active.turns[0]?.answer.text, 'late');
});

test('writes that overlap leave the last state', async () => {
  const memory = new Memory();
  const conversations = new Conversations(memory);
  const turn = answered(conversations, 'question', 'one');
  const first = conversations.save();
  turn.answer.text = 'two';
  conversations.touch(conversations.active);
  await Promise.all([first, conversations.save()]);
  assert.equal((await reloaded(memory)).active.turns[0]?.answer.text, 'two');
});

test('a new conversation is begun only when the present one has something in it, and empty ones are not kept', async () => {
  const memory = new Memory();
  const conversations = new Conversations(memory);
  const { id } = conversations.active;
  assert.equal(conversations.startNew().id, id);
  answered(conversations, 'question', 'answer');
  assert.notEqual(conversations.startNew().id, id);
  await conversations.save();
  assert.deepEqual(
    (await reloaded(memory)).list().map((one) => one.id),
    [id],
  );
});

test('a conversation can be renamed and deleted', async () => {
  const memory = new Memory();
  const conversations = new Conversations(memory);
  answered(conversations, 'question', 'answer');
  const { id } = conversations.active;
  conversations.rename(id, '  Another title ');
  assert.equal(conversations.active.title, 'Another title');
  conversations.rename(id, '   ');
  assert.equal(conversations.active.title, 'Another title');
  conversations.rename('nobody', 'x');

  conversations.delete(id);
  assert.notEqual(conversations.active.id, id);
  await conversations.save();
  assert.deepEqual((await reloaded(memory)).list(), []);
});

test('the longest unused ones go beyond the number that is kept', async () => {
  const memory = new Memory();
  const conversations = new Conversations(memory, clock());
  for (let count = 0; count < MAX_CONVERSATIONS + 3; count += 1) {
    conversations.startNew();
    answered(conversations, `question ${String(count)}`, 'answer');
  }
  await conversations.save();
  const titles = (await reloaded(memory)).list().map(({ title }) => title);
  assert.equal(titles.length, MAX_CONVERSATIONS);
  assert.equal(titles[0], `question ${String(MAX_CONVERSATIONS + 2)}`);
  assert.equal(titles.at(-1), 'question 3');
});

test('the longest unused ones go beyond the size that is kept; never the one that is shown or being answered', async () => {
  const memory = new Memory();
  const conversations = new Conversations(memory, clock());
  const large = 'x'.repeat(MAX_STORED_CHARACTERS / 4);
  answered(conversations, 'shown', large);
  const shown = conversations.active.id;
  conversations.startNew();
  conversations.ask(conversations.active, 'running', []).answer.text = large;
  for (let count = 0; count < 4; count += 1) {
    conversations.startNew();
    answered(conversations, `other ${String(count)}`, large);
  }
  conversations.select(shown);
  await conversations.save();

  assert.deepEqual(
    (await reloaded(memory)).list().map(({ title }) => title),
    ['other 3', 'running', 'shown'],
  );
});

for (const rubbish of [
  null,
  42,
  'text',
  [],
  {},
  { version: 99, id: 'a', turns: [] },
  { version: 1, id: '' },
  { version: 1, id: '../elsewhere', turns: [{ id: 't', question: 'q' }] },
  { version: 1, id: 'x', turns: [null, 3, { id: 1 }] },
  { version: 1, id: 'x', changedAt: 'yesterday', turns: [{ id: 't', answer: null, attachments: [1, {}] }] },
]) {
  test(`a storage that holds ${JSON.stringify(rubbish)} gives usable conversations`, async () => {
    const memory = new Memory();
    memory.texts.set('rubbish', JSON.stringify(rubbish));
    const conversations = await reloaded(memory);
    answered(conversations, 'question', 'answer');
    await conversations.save();
    assert.equal(conversations.active.turns.at(-1)?.question, 'question');
    assert.match(conversations.active.id, /^[\w-]+$/);
  });
}

test('the title is the first line of the first question, shortened between characters', () => {
  assert.equal(titleFrom('  What is\tthis?\nmore'), 'What is this?');
  assert.equal(titleFrom(''), 'New conversation');
  const long = titleFrom('😀'.repeat(100));
  assert.equal(Array.from(long).length, MAX_TITLE_CHARACTERS);
  assert.doesNotMatch(long, /\p{Surrogate}/u);
});

test('a question that cannot be sent says why', () => {
  const conversations = new Conversations(new Memory());
  const { active } = conversations;
  assert.equal(whyNotAsk(active, 'question'), undefined);
  assert.match(whyNotAsk(active, ' \n ') ?? '', /Write a message/);
  assert.match(whyNotAsk(active, 'x'.repeat(MAX_QUESTION_CHARACTERS + 1)) ?? '', /32768.*32769/);
  conversations.ask(active, 'question', []);
  assert.match(whyNotAsk(active, 'another') ?? '', /still being written/);
});

test('a full conversation asks for a new one', () => {
  const many = new Conversations(new Memory());
  for (let count = 0; count < MAX_TURNS; count += 1) {
    answered(many, 'q', 'a');
  }
  assert.match(whyNotAsk(many.active, 'one more') ?? '', /full/);
  const large = new Conversations(new Memory());
  answered(large, 'q', 'a'.repeat(MAX_CONVERSATION_CHARACTERS));
  assert.match(whyNotAsk(large.active, 'one more') ?? '', /full/);
});
