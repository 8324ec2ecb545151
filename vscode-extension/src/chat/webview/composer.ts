/** The input of the page: the message, its context, and what sends or stops it. */
import type { Chip, ToExtension } from '../messages.ts';
import { button, make } from './code.ts';

export class Composer {
  readonly #post: (message: ToExtension) => void;
  readonly #form = byId('composer', HTMLFormElement);
  readonly #message = byId('message', HTMLTextAreaElement);
  readonly #context = byId('context', HTMLUListElement);
  readonly #selection = byId('add-selection', HTMLButtonElement);
  readonly #file = byId('add-file', HTMLButtonElement);
  readonly #send = byId('send', HTMLButtonElement);
  readonly #stop = byId('stop', HTMLButtonElement);
  readonly #notice = byId('notice', HTMLParagraphElement);

  constructor(post: (message: ToExtension) => void, draft: string, onDraft: (text: string) => void) {
    this.#post = post;
    this.#message.value = draft;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#message.addEventListener('input', () => {
      onDraft(this.#message.value);
      this.notice('');
    });
    this.#message.addEventListener('keydown', (event) => {
      this.#onKey(event);
    });
    this.#stop.addEventListener('click', () => {
      this.#post({ type: 'stop' });
      this.focus();
    });
    this.#selection.addEventListener('click', () => {
      this.#post({ type: 'addSelection' });
      this.focus();
    });
    this.#file.addEventListener('click', () => {
      this.#post({ type: 'addFile' });
      this.focus();
    });
  }

  focus(): void {
    this.#message.focus();
  }

  clear(): void {
    this.#message.value = '';
  }

  notice(text: string): void {
    this.#notice.textContent = text;
  }

  setRunning(isRunning: boolean): void {
    const hadFocus = document.activeElement === this.#stop || document.activeElement === this.#send;
    this.#send.hidden = isRunning;
    this.#stop.hidden = !isRunning;
    if (hadFocus) {
      // The button that had it is gone.
      this.focus();
    }
  }

  /** The chips that are there, and what could become one. */
  setContext(chips: readonly Chip[], selection: string, file: string): void {
    offer(this.#selection, 'Add selection', selection);
    offer(this.#file, 'Add file', file);
    this.#context.hidden = chips.length === 0;
    this.#context.replaceChildren(
      ...chips.map((chip) => {
        const item = make('li', '', chip.detail === '' ? chip.label : `${chip.label} (${chip.detail})`);
        item.append(
          button('×', `Remove ${chip.label} from the context`, () => {
            this.#post({ type: 'remove', chip: chip.id });
            this.focus();
          }),
        );
        return item;
      }),
    );
  }

  #onKey(event: KeyboardEvent): void {
    // While an input method composes a word, Enter belongs to it.
    if (event.isComposing) {
      return;
    }
    if (event.key === 'Enter' && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === 'Escape' && !this.#stop.hidden) {
      event.preventDefault();
      this.#post({ type: 'stop' });
    }
  }

  #submit(): void {
    this.#post({ type: 'send', text: this.#message.value });
  }
}

function offer(node: HTMLButtonElement, what: string, label: string): void {
  node.hidden = label === '';
  node.textContent = `${what} ${label}`;
}

export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const node = document.getElementById(id);
  if (!(node instanceof type)) {
    throw new Error(`the page has no ${id}`);
  }
  return node;
}
