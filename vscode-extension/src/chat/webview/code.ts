/** A block of code in the page, with its buttons. */
import { highlight } from './highlight.ts';
import type { Code } from './tree.ts';
import { toDom } from './tree.ts';

/** What the buttons do. */
export interface CodeActions {
  copy(text: string): void;
  insert(text: string): void;
  apply(text: string): void;
}

/** One block; the code in it may grow while its buttons stay, and with them the focus. */
export class CodeBlock {
  readonly node: HTMLElement;
  readonly #content: HTMLElement;
  readonly #language: HTMLElement;
  readonly #scroller: HTMLElement;
  #code = '';

  constructor(code: Code, actions: CodeActions) {
    this.node = make('div', 'code');
    const bar = make('div', 'bar');
    this.#language = make('span', 'language');
    bar.append(
      this.#language,
      button('Copy', 'Copy code', () => {
        actions.copy(this.#code);
      }),
      button('Insert', 'Insert at cursor', () => {
        actions.insert(this.#code);
      }),
      button('Apply', 'Apply to selection', () => {
        actions.apply(this.#code);
      }),
    );
    this.#scroller = make('pre', '');
    // Long lines scroll, and whoever has no mouse must be able to.
    this.#scroller.tabIndex = 0;
    this.#scroller.setAttribute('role', 'group');
    this.#content = make('code', '');
    this.#scroller.append(this.#content);
    this.node.append(bar, this.#scroller);
    this.update(code);
  }

  update({ code, language }: Code): void {
    if (code !== this.#code) {
      this.#code = code;
      const pieces = highlight(code, language);
      this.#content.replaceChildren(...pieces.map((piece) => toDom(piece, ({ code: text }) => new Text(text))));
    }
    this.#language.textContent = language;
    this.#scroller.setAttribute('aria-label', language === '' ? 'Code' : `Code, ${language}`);
  }
}

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  text = '',
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  if (className !== '') {
    node.className = className;
  }
  node.textContent = text;
  return node;
}

/** A small button; `name` says more than the visible `label` and begins or ends with it. */
export function button(label: string, name: string, onClick: () => void): HTMLButtonElement {
  const node = make('button', 'quiet', label);
  node.type = 'button';
  if (name !== label) {
    node.setAttribute('aria-label', name);
    node.title = name;
  }
  node.addEventListener('click', onClick);
  return node;
}
