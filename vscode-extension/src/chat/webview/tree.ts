/**
 * What the page may show of an answer, as a value: elements of a few kinds with a few attributes, and text. There is no way
 * from here to raw HTML, so nothing in an answer can run, load or send anything. Pure but for {@link toDom}.
 */

export const TAGS = [
  'a', 'blockquote', 'br', 'code', 'del', 'em', 'h3', 'h4', 'h5', 'h6', 'hr', 'li', 'ol', 'p', 'span', 'strong', 'table',
  'tbody', 'td', 'th', 'thead', 'tr', 'ul',
] as const; // prettier-ignore
export type Tag = (typeof TAGS)[number];
export const ATTRIBUTES = ['class', 'href', 'start', 'title', 'scope'] as const;
export type Attributes = Readonly<Partial<Record<(typeof ATTRIBUTES)[number], string>>>;

export interface Element {
  readonly tag: Tag;
  readonly attributes: Attributes;
  readonly children: readonly Tree[];
}

/** A block of code, which the page shows with buttons of its own. */
export interface Code {
  readonly code: string;
  /** As the fence names it; may be empty. */
  readonly language: string;
}

export type Tree = string | Element | Code;

export function element(tag: Tag, children: readonly Tree[], attributes: Attributes = {}): Element {
  return { tag, attributes, children };
}

/** All the text in it. */
export function textOf(tree: Tree): string {
  if (typeof tree === 'string') {
    return tree;
  }
  return isCode(tree) ? tree.code : tree.children.map(textOf).join('');
}

export function isCode(tree: Tree): tree is Code {
  return typeof tree !== 'string' && 'code' in tree;
}

/** Build it in the page; `toCode` builds the blocks of code. */
export function toDom(tree: Tree, toCode: (code: Code) => Node): Node {
  if (typeof tree === 'string') {
    return document.createTextNode(tree);
  }
  if (isCode(tree)) {
    return toCode(tree);
  }
  const node = document.createElement(tree.tag);
  for (const [name, value] of Object.entries(tree.attributes)) {
    node.setAttribute(name, value);
  }
  node.append(...tree.children.map((child) => toDom(child, toCode)));
  return node;
}
