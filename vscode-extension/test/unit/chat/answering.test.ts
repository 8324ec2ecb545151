/** An answer keeps what has come of it, whatever happens, and says what happened. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { CancellationToken, CancellationTokenSource } from 'vscode';

import { DaemonError } from '../../../src/api.ts';
import type { DaemonSession, OnText } from '../../../src/api.ts';
import { Answering } from '../../../src/chat/answering.ts';
import { Conversations } from '../../../src/chat/conversations.ts';
import type { ChatResult } from '../../../src/protocol.ts';

const RESULT = { text: '', finishReason: 'stop', droppedMessages: 0 } as ChatResult;

class Source {
  isCancelled = false;
  onCancel: () => void = () => undefined;

  get token(): CancellationToken {
    const isCancelled = (): boolean => this.isCancelled;
    return {
      get isCancellationRequested() {
        return isCancelled();
      },
    } as CancellationToken;
  }

  cancel(): void {
    this.isCancelled = true;
    this.onCancel();
  }

  dispose(): void {
    this.onCancel = () => undefined;
  }
}

type Daemon = (params: unknown, onText: OnText, source: Source) => Promise<ChatResult>;

function asked(daemon: Daemon) {
  const conversations = new Conversations({
    read: () => Promise.resolve([]),
    write: () => Promise.resolve(),
    remove: () => Promise.resolve(),
  });
  const turn = conversations.ask(conversations.active, 'question', []);
  const seen: string[] = [];
  let source = new Source();
  const session = {
    stream: (method: string, params: unknown, onText: OnText) => {
      assert.equal(method, 'botframework/chat');
      return daemon(params, onText, source);
    },
  } as unknown as Pick<DaemonSession, 'stream'>;
  const answering = new Answering(
    session,
    () => {
      source = new Source();
      return source satisfies Pick<CancellationTokenSource, 'token' | 'cancel' | 'dispose'>;
    },
    {
      onState: (_conversation, { answer }) => seen.push(answer.state),
      onText: (_conversation, _turn, text) => seen.push(`+${text}`),
    },
  );
  return { answering, conversation: conversations.active, turn, seen };
}

test('the pieces arrive in order and the answer is done', async () => {
  let sent: unknown;
  const { answering, conversation, turn, seen } = asked((params, onText) => {
    sent = params;
    onText('Hel', 0);
    onText('lo', 1);
    return Promise.resolve(RESULT);
  });
  await answering.answer(conversation, turn);
  assert.deepEqual(seen, ['running', '+Hel', '+lo', 'done']);
  assert.equal(turn.answer.text, 'Hello');
  assert.deepEqual(sent, { messages: [{ role: 'user', content: 'question' }], session: conversation.id });
});

test('the daemon dies in the middle: the text stays, the problem is told, and a retry answers anew', async () => {
  let deaths = 1;
  const { answering, conversation, turn } = asked((_params, onText) => {
    onText('part', 0);
    return deaths-- > 0 ? Promise.reject(new DaemonError('DaemonDied', 'The daemon ended.')) : Promise.resolve(RESULT);
  });
  await answering.answer(conversation, turn);
  assert.deepEqual(turn.answer, { text: 'part', state: 'failed', note: '', problem: 'The daemon ended.' });

  await answering.answer(conversation, turn);
  assert.deepEqual(turn.answer, { text: 'part', state: 'done', note: '', problem: '' });
});

test('a stop keeps what has come and takes no more', async () => {
  const { answering, conversation, turn } = asked(
    (_params, onText, source) =>
      new Promise((_resolve, reject) => {
        onText('so far', 0);
        source.onCancel = () => {
          reject(new DaemonError('RequestCancelled', 'cancelled', -32800));
        };
      }),
  );
  const done = answering.answer(conversation, turn);
  answering.stop('another conversation');
  assert.equal(turn.answer.state, 'running');
  answering.stop(conversation.id);
  await done;
  assert.deepEqual(turn.answer, { text: 'so far', state: 'stopped', note: '', problem: '' });
});

test('a piece that comes after the end changes nothing', async () => {
  let late: OnText = () => undefined;
  const { answering, conversation, turn, seen } = asked((_params, onText) => {
    late = onText;
    return Promise.reject(new DaemonError('WorkerCrashed', 'crashed', -33200));
  });
  await answering.answer(conversation, turn);
  late('too late', 5);
  assert.equal(turn.answer.text, '');
  assert.deepEqual(seen, ['running', 'failed']);
});

test('an answer that was cut, or for which messages were left out, says so', async () => {
  const { answering, conversation, turn } = asked(() =>
    Promise.resolve({ ...RESULT, finishReason: 'length', droppedMessages: 2 }),
  );
  await answering.answer(conversation, turn);
  assert.match(turn.answer.note, /limit of tokens.*2 oldest messages/);
});
