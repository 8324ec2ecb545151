/** Asking the model and writing down what it says. Pure: the session is given. */
import type { CancellationTokenSource } from 'vscode';

import type { DaemonSession } from '../api.ts';
import { DaemonError } from '../api.ts';
import { explain } from '../edit/failures.ts';
import type { Conversation, Turn } from './conversation.ts';
import { freshAnswer } from './conversation.ts';
import { noteOf } from './notes.ts';
import { requestMessages } from './prompt.ts';

/** What the view wants to know while an answer comes. */
export interface AnswerListener {
  /** The state of the turn's answer has changed. */
  onState(conversation: Conversation, turn: Turn): void;
  /** There is more of its text. */
  onText(conversation: Conversation, turn: Turn, text: string): void;
}

export class Answering {
  readonly #session: Pick<DaemonSession, 'stream'>;
  readonly #newSource: () => CancellationTokenSource;
  readonly #listener: AnswerListener;
  /** The running answers, by their conversation. */
  readonly #running = new Map<string, CancellationTokenSource>();

  constructor(
    session: Pick<DaemonSession, 'stream'>,
    newSource: () => CancellationTokenSource,
    listener: AnswerListener,
  ) {
    this.#session = session;
    this.#newSource = newSource;
    this.#listener = listener;
  }

  /**
   * Answer the question of `turn`, the last one of its conversation. Never rejects: what goes wrong is in the answer, under
   * the text that had come.
   */
  async answer(conversation: Conversation, turn: Turn): Promise<void> {
    const source = this.#newSource();
    this.#running.set(conversation.id, source);
    turn.answer = freshAnswer();
    this.#listener.onState(conversation, turn);
    try {
      const result = await this.#session.stream(
        'botframework/chat',
        { messages: requestMessages(conversation, turn), session: conversation.id },
        (text) => {
          // A piece may still be on its way after a stop.
          if (turn.answer.state === 'running') {
            turn.answer.text += text;
            this.#listener.onText(conversation, turn, text);
          }
        },
        source.token,
      );
      turn.answer.state = source.token.isCancellationRequested ? 'stopped' : 'done';
      turn.answer.note = noteOf(result);
    } catch (error) {
      if (source.token.isCancellationRequested || (error instanceof DaemonError && error.isCancelled)) {
        turn.answer.state = 'stopped';
      } else {
        turn.answer.state = 'failed';
        turn.answer.problem = explain(error);
      }
    } finally {
      this.#running.delete(conversation.id);
      source.dispose();
    }
    this.#listener.onState(conversation, turn);
  }

  /** Stop the answer that is written in this conversation, if any; what had come stays. */
  stop(conversationId: string): void {
    this.#running.get(conversationId)?.cancel();
  }

  stopAll(): void {
    for (const source of this.#running.values()) {
      source.cancel();
    }
  }
}
