/** The chat of a window: what the page says becomes questions, answers and changes of the conversations, and back. */
import * as vscode from 'vscode';

import type { DaemonSession } from '../api.ts';
import type { Reviews } from '../edit/reviews.ts';
import { Answering } from './answering.ts';
import { Context } from './context.ts';
import type { Conversation, Turn } from './conversation.ts';
import { whyNotAsk } from './conversation.ts';
import { Conversations } from './conversations.ts';
import { ConversationFolder } from './folder.ts';
import { showHistory } from './history.ts';
import type { ToExtension } from './messages.ts';
import { shownTurn } from './messages.ts';
import { applyToSelection, copyCode, insertAtCursor } from './placing.ts';
import { ChatView } from './view.ts';

/** Milliseconds between two writes while an answer comes: what a crash of the window can lose of it. */
const SAVE_INTERVAL_MS = 2_000;

/** What may fail with a reason that stands in the view. */
type Placing = Extract<ToExtension, { type: 'copy' | 'insert' | 'apply' | 'addSelection' | 'addFile' }>;

export class Chat implements vscode.Disposable {
  readonly view: ChatView;
  readonly #conversations: Conversations;
  readonly #loaded: Promise<void>;
  readonly #context = new Context();
  readonly #answering: Answering;
  readonly #reviews: Reviews;
  readonly #session: DaemonSession;
  #saveTimer: NodeJS.Timeout | undefined;
  #wasSaveRefused = false;

  constructor(context: vscode.ExtensionContext, session: DaemonSession, reviews: Reviews) {
    this.#reviews = reviews;
    this.#session = session;
    // Without a folder there is no storage of a workspace, and all such windows share what they keep.
    const folder = vscode.Uri.joinPath(context.storageUri ?? context.globalStorageUri, 'conversations');
    this.#conversations = new Conversations(new ConversationFolder(folder.fsPath));
    this.#loaded = this.#conversations.load().catch(() => {
      this.view.post({ type: 'notice', text: 'Earlier conversations could not be read.' });
    });
    this.view = new ChatView(context.extensionUri, (message) => void this.#handle(message));
    this.#context.onDidChange(() => {
      this.#showContext();
    });
    this.#answering = new Answering(session, () => new vscode.CancellationTokenSource(), {
      onState: (conversation, turn) => {
        this.#onState(conversation, turn);
      },
      onText: (conversation, turn, text) => {
        this.#conversations.touch(conversation);
        if (conversation === this.#conversations.active) {
          this.view.post({ type: 'text', turn: turn.id, text });
        }
        this.#saveSoon();
      },
    });
  }

  dispose(): void {
    this.#answering.stopAll();
    clearTimeout(this.#saveTimer);
    this.#context.dispose();
    this.view.dispose();
  }

  async startNew(): Promise<void> {
    await this.#loaded;
    this.#conversations.startNew();
    this.#showConversation();
    await this.view.focus();
  }

  stop(): void {
    this.#answering.stop(this.#conversations.active.id);
  }

  async addSelection(): Promise<void> {
    const problem = this.#context.addSelection();
    await this.view.focus();
    this.view.post({ type: 'notice', text: problem ?? '' });
  }

  async showHistory(): Promise<void> {
    await this.#loaded;
    showHistory(
      this.#conversations,
      (id) => {
        this.#answering.stop(id);
        // If there is no daemon, it has nothing to forget.
        this.#session.request('botframework/sessions/close', { session: id }).catch(() => undefined);
      },
      () => {
        this.#showConversation();
        this.#saveSoon();
        void this.view.focus();
      },
    );
  }

  async #handle(message: ToExtension): Promise<void> {
    await this.#loaded;
    switch (message.type) {
      case 'ready':
        this.#showConversation();
        this.#showContext();
        return;
      case 'send':
        this.#send(message.text);
        return;
      case 'retry':
        this.#retry(message.turn);
        return;
      case 'stop':
        this.stop();
        return;
      case 'remove':
        this.#context.remove(message.chip);
        return;
      default:
        // What is left can fail; the reason stands in the view, beside the button.
        this.view.post({ type: 'notice', text: await this.#placed(message) });
    }
  }

  /** Why it could not be done; empty if it was. */
  async #placed(message: Placing): Promise<string> {
    try {
      return (await this.#place(message)) ?? '';
    } catch {
      return 'That did not work, and nothing was changed. Try once more.';
    }
  }

  #place(message: Placing): Promise<string | undefined> | string | undefined {
    switch (message.type) {
      case 'copy':
        return copyCode(message.text);
      case 'insert':
        return insertAtCursor(message.text);
      case 'apply':
        return applyToSelection(this.#reviews, message.text);
      case 'addSelection':
        return this.#context.addSelection();
      case 'addFile':
        return this.#context.addFile();
    }
  }

  #send(text: string): void {
    const conversation = this.#conversations.active;
    const problem = whyNotAsk(conversation, text);
    this.view.post({ type: 'notice', text: problem ?? '' });
    if (problem === undefined) {
      const turn = this.#conversations.ask(conversation, text.trim(), this.#context.take());
      this.view.post({ type: 'taken' });
      this.view.title = conversation.title;
      void this.#answering.answer(conversation, turn);
    }
  }

  #retry(id: string): void {
    const conversation = this.#conversations.active;
    const turn = conversation.turns.at(-1);
    if (turn?.id === id && turn.answer.state !== 'running') {
      void this.#answering.answer(conversation, turn);
    } else {
      this.view.post({ type: 'notice', text: 'Only the last message can be asked again.' });
    }
  }

  #onState(conversation: Conversation, turn: Turn): void {
    this.#conversations.touch(conversation);
    if (conversation === this.#conversations.active) {
      this.view.post({ type: 'turn', turn: shownTurn(turn) });
    }
    void this.#save();
  }

  #showConversation(): void {
    const { id, turns, title } = this.#conversations.active;
    this.view.title = turns.length === 0 ? '' : title;
    this.view.post({ type: 'show', conversation: id, turns: turns.map(shownTurn) });
  }

  #showContext(): void {
    this.view.post({ type: 'context', chips: this.#context.chips, ...this.#context.offers });
  }

  #saveSoon(): void {
    this.#saveTimer ??= setTimeout(() => void this.#save(), SAVE_INTERVAL_MS);
  }

  async #save(): Promise<void> {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = undefined;
    if (!vscode.workspace.isTrusted) {
      // Nothing of its files is kept on disk; once it is trusted, the next change writes everything.
      return;
    }
    try {
      await this.#conversations.save();
      this.#wasSaveRefused = false;
    } catch {
      // Told once: the same would be true at every token.
      if (!this.#wasSaveRefused) {
        this.#wasSaveRefused = true;
        this.view.post({
          type: 'notice',
          text: 'The conversation could not be saved; it will be gone after a reload.',
        });
      }
    }
  }
}
