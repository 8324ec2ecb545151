/** The conversations of a workspace, which survive a reload of the window. Pure: where they are kept is given. */
import { randomUUID } from 'node:crypto';

import type { Attachment, Conversation, Turn } from './conversation.ts';
import { freshAnswer, shortened, sizeOf, titleFrom } from './conversation.ts';
import { parseStored, toStored } from './stored.ts';

/** Conversations that are kept; the longest unused go beyond it. A list that is longer is not read any more. */
export const MAX_CONVERSATIONS = 50;
/** Characters of all that are kept: they are all read when the window opens. */
export const MAX_STORED_CHARACTERS = 4_000_000;

/** Where conversations are kept, each by its id. */
export interface Shelf {
  /** All that can be read, in no order. */
  read(): Promise<readonly unknown[]>;
  write(id: string, value: unknown): Promise<void>;
  remove(id: string): Promise<void>;
}

export class Conversations {
  readonly #shelf: Shelf;
  readonly #now: () => number;
  #all: Conversation[] = [];
  #active: Conversation;
  /** Those that are not on the shelf as they are, and those that have to go from there. */
  readonly #changed = new Set<Conversation>();
  readonly #gone = new Set<string>();
  #writing: Promise<void> = Promise.resolve();

  constructor(shelf: Shelf, now: () => number = Date.now) {
    this.#shelf = shelf;
    this.#now = now;
    this.#active = this.#begin();
  }

  /** Take what is on the shelf; the last used one is shown. Rejects when nothing can be read, and goes on without. */
  async load(): Promise<void> {
    const stored = (await this.#shelf.read()).map(parseStored).filter((one) => one !== undefined);
    this.#all = [...stored, ...this.#all];
    const [last] = this.list();
    if (this.#active.turns.length === 0 && last !== undefined) {
      this.#active = last;
    }
  }

  /** The one that the view shows. */
  get active(): Conversation {
    return this.#active;
  }

  /** All that have something in them, the last used first. */
  list(): readonly Conversation[] {
    return this.#all.filter(({ turns }) => turns.length > 0).sort((one, other) => other.changedAt - one.changedAt);
  }

  /** Show an empty one: a new one, or the present one if it is empty. */
  startNew(): Conversation {
    if (this.#active.turns.length > 0) {
      this.#active = this.#begin();
    }
    return this.#active;
  }

  /** Show another one; nothing happens if there is none of that id. */
  select(id: string): void {
    this.#active = this.#all.find((conversation) => conversation.id === id) ?? this.#active;
  }

  /** Give it another title; an empty one changes nothing. */
  rename(id: string, title: string): void {
    const conversation = this.#all.find((one) => one.id === id);
    if (conversation !== undefined) {
      conversation.title = shortened(title) || conversation.title;
      this.#changed.add(conversation);
    }
  }

  delete(id: string): void {
    this.#drop((conversation) => conversation.id === id);
    if (this.#active.id === id) {
      this.#active = this.#begin();
    }
  }

  /** Add a question, whose answer is about to be written. */
  ask(conversation: Conversation, question: string, attachments: readonly Attachment[]): Turn {
    if (conversation.turns.length === 0) {
      conversation.title = titleFrom(question);
    }
    const turn: Turn = { id: randomUUID(), question, attachments, answer: freshAnswer() };
    conversation.turns.push(turn);
    this.touch(conversation);
    return turn;
  }

  /** Something in it has changed just now. */
  touch(conversation: Conversation): void {
    conversation.changedAt = this.#now();
    this.#changed.add(conversation);
  }

  /** Write what has changed; what exceeds the limits goes. Rejects when the shelf does, and then tries again next time. */
  async save(): Promise<void> {
    // One after the other: an older text must not be written over a newer one.
    const written = this.#writing.catch(() => undefined).then(() => this.#write());
    this.#writing = written;
    await written;
  }

  async #write(): Promise<void> {
    this.#forget();
    for (const id of this.#gone) {
      await this.#shelf.remove(id);
      this.#gone.delete(id);
    }
    for (const conversation of this.#changed) {
      if (this.#all.includes(conversation)) {
        // Before it is written: what changes meanwhile has to be written again.
        this.#changed.delete(conversation);
        await this.#shelf.write(conversation.id, toStored(conversation)).catch((error: unknown) => {
          this.#changed.add(conversation);
          throw error;
        });
      } else {
        this.#changed.delete(conversation);
      }
    }
  }

  #begin(): Conversation {
    const conversation: Conversation = {
      id: randomUUID(),
      title: 'New conversation',
      changedAt: this.#now(),
      turns: [],
    };
    this.#all = [...this.#all.filter(({ turns }) => turns.length > 0), conversation];
    return conversation;
  }

  /** Drop the longest unused ones until the rest fits; never the one that is shown, nor one that is being answered. */
  #forget(): void {
    let room = MAX_STORED_CHARACTERS;
    let places = MAX_CONVERSATIONS;
    const kept = new Set<Conversation>([this.#active]);
    const isBusy = (conversation: Conversation): boolean =>
      conversation === this.#active || conversation.turns.some(({ answer }) => answer.state === 'running');
    const order = [...this.list()].sort((one, other) => Number(isBusy(other)) - Number(isBusy(one)));
    for (const conversation of order) {
      room -= sizeOf(conversation);
      places -= 1;
      if (isBusy(conversation) || (room >= 0 && places >= 0)) {
        kept.add(conversation);
      }
    }
    this.#drop((conversation) => !kept.has(conversation));
  }

  #drop(isGone: (conversation: Conversation) => boolean): void {
    for (const conversation of this.#all.filter(isGone)) {
      if (conversation.turns.length > 0) {
        this.#gone.add(conversation.id);
      }
    }
    this.#all = this.#all.filter((conversation) => !isGone(conversation));
  }
}
