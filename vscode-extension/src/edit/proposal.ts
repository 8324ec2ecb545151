/** A new text for a part of a document, while it is written and when it is whole. Pure. */
import type { Line } from './lines.ts';
import { mergedLines, splitLines } from './lines.ts';

export class Proposal {
  /** What the new text replaces. */
  readonly old: string;
  readonly head: string;
  readonly tail: string;
  #text = '';
  #isWhole = false;
  /** What {@link Proposal.lines} gave, until there is more; it is asked for several times in between. */
  #lines: Line[] | undefined;

  /**
   * @param head - what stands before `old` on its first line
   * @param tail - what stands behind `old` on its last line
   */
  constructor(old: string, head = '', tail = '') {
    this.old = old;
    this.head = head;
    this.tail = tail;
  }

  /** The new text as far as it is there. */
  get text(): string {
    return this.#text;
  }

  /** Whether it is complete and no other than what it replaces. */
  get changesNothing(): boolean {
    return this.#isWhole && this.#text === this.old;
  }

  append(text: string): void {
    this.#text += text;
    this.#lines = undefined;
  }

  /** Nothing more comes. */
  finish(): void {
    this.#isWhole = true;
    this.#lines = undefined;
  }

  /** Whole lines, old and new, in the order in which they are shown. */
  lines(): readonly Line[] {
    this.#lines ??= this.#merged();
    return this.#lines;
  }

  #merged(): Line[] {
    const old = splitLines(this.head + this.old + this.tail);
    if (this.#isWhole) {
      return mergedLines(old, splitLines(this.head + this.#text + this.tail), true);
    }
    // Before the first character there is nothing to show but the old text.
    const fresh = this.#text === '' ? [] : splitLines(this.head + this.#text);
    return mergedLines(old, fresh.at(-1) === '' ? fresh.slice(0, -1) : fresh, false);
  }
}
