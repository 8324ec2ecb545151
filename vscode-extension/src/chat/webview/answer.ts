/** The text of one answer in the page, while it grows. */
import type { CodeActions } from './code.ts';
import { CodeBlock } from './code.ts';
import { markdownBlocks } from './markdown.ts';
import type { Block } from './markdown.ts';
import { isCode, textOf, toDom } from './tree.ts';

interface ShownBlock {
  key: string;
  readonly nodes: readonly Node[];
  /** Set when the block is nothing but this. */
  readonly code: CodeBlock | undefined;
}

export class AnswerText {
  readonly node: HTMLElement;
  readonly #actions: CodeActions;
  #shown: ShownBlock[] = [];
  #plain = '';

  constructor(node: HTMLElement, actions: CodeActions) {
    this.node = node;
    this.#actions = actions;
  }

  /** What it says, without Markdown's signs. */
  get plain(): string {
    return this.#plain;
  }

  /** Show the text; blocks that are there already stay as they are, with their focus and the user's selection. */
  update(markdown: string): void {
    const blocks = markdownBlocks(markdown);
    this.#plain = blocks.map(({ trees }) => trees.map(textOf).join('')).join('\n');
    let same = 0;
    while (same < blocks.length && this.#shown[same]?.key === blocks[same]?.key) {
      same += 1;
    }
    const growing = this.#shown[same];
    const grown = blocks[same];
    if (
      growing?.code !== undefined &&
      grown?.trees.length === 1 &&
      grown.trees[0] !== undefined &&
      isCode(grown.trees[0])
    ) {
      growing.code.update(grown.trees[0]);
      growing.key = grown.key;
      same += 1;
    }
    for (const block of this.#shown.splice(same)) {
      for (const node of block.nodes) {
        this.node.removeChild(node);
      }
    }
    for (const block of blocks.slice(same)) {
      const shown = this.#build(block);
      this.#shown.push(shown);
      this.node.append(...shown.nodes);
    }
  }

  #build(block: Block): ShownBlock {
    const [only] = block.trees;
    if (block.trees.length === 1 && only !== undefined && isCode(only)) {
      const code = new CodeBlock(only, this.#actions);
      return { key: block.key, nodes: [code.node], code };
    }
    const nodes = block.trees.map((tree) => toDom(tree, (code) => new CodeBlock(code, this.#actions).node));
    return { key: block.key, nodes, code: undefined };
  }
}
