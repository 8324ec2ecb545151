/** Markdown to what the page may show. Pure. */
import { Lexer } from 'marked';
import type { Token, Tokens } from 'marked';

import type { Tag, Tree } from './tree.ts';
import { element } from './tree.ts';

/** A part of an answer that does not change any more once the next one has begun. */
export interface Block {
  /** Equal for equal blocks, so that those that are shown already can stay. */
  readonly key: string;
  readonly trees: readonly Tree[];
}

/** Depth of nesting beyond which Markdown stays as it was written; an answer may be made to exhaust the stack. */
const MAX_DEPTH = 20;
/** The level of the heading that stands over an answer in the page. */
const OUTER_HEADING = 2;
/** Where a link may lead; VS Code asks before it opens one. */
const LINK = /^(?:https?:\/\/|mailto:)[^\s]+$/i;

/** The blocks of a text, whole or still growing: a code fence that is not closed yet reaches to the end. */
export function markdownBlocks(markdown: string): Block[] {
  try {
    return lexed(markdown);
  } catch {
    // The lexer calls itself for what is nested, and an answer may nest as deeply as it is long.
    return [{ key: markdown, trees: [element('p', [markdown])] }];
  }
}

function lexed(markdown: string): Block[] {
  let level = OUTER_HEADING;
  return new Lexer({ gfm: true }).lex(markdown).flatMap((token): Block[] => {
    if (token.type !== 'heading') {
      const trees = block(token, 0);
      return trees.length > 0 ? [{ key: token.raw, trees }] : [];
    }
    // No level is left out on the way down, whatever the model thinks: a screen reader goes by them.
    level = Math.min((token as Tokens.Heading).depth + OUTER_HEADING, level + 1, 6);
    const tag: Tag = `h${String(level)}` as Tag;
    return [{ key: `${tag} ${token.raw}`, trees: [element(tag, inline(token, 0))] }];
  });
}

function blocks(tokens: readonly Token[] | undefined, depth: number): Tree[] {
  return (tokens ?? []).flatMap((token) => block(token, depth));
}

function block(token: Token, depth: number): Tree[] {
  if (depth > MAX_DEPTH) {
    return [token.raw];
  }
  switch (token.type) {
    case 'space':
    case 'def':
      return [];
    case 'hr':
      return [element('hr', [])];
    case 'heading':
      return [element('p', [element('strong', inline(token, depth))])];
    case 'paragraph':
      return [element('p', inline(token, depth))];
    case 'blockquote':
      return [element('blockquote', blocks((token as Tokens.Blockquote).tokens, depth + 1))];
    case 'code':
      return [code(token as Tokens.Code)];
    case 'list':
      return [list(token as Tokens.List, depth)];
    case 'table':
      return [table(token as Tokens.Table, depth)];
    case 'html':
      return [element('p', [token.raw])];
    default:
      return inlineToken(token, depth);
  }
}

function code({ text, lang }: Tokens.Code): Tree {
  const language = /^[\w+#.-]*/.exec(lang ?? '')?.[0] ?? '';
  return { code: text, language };
}

function list(token: Tokens.List, depth: number): Tree {
  const items = token.items.map((item) => {
    const mark = item.task ? [item.checked === true ? '☑ ' : '☐ '] : [];
    return element('li', [
      ...mark,
      ...blocks(
        item.tokens.filter(({ type }) => type !== 'checkbox'),
        depth + 1,
      ),
    ]);
  });
  const isShifted = token.ordered && typeof token.start === 'number' && token.start !== 1;
  return element(token.ordered ? 'ol' : 'ul', items, isShifted ? { start: String(token.start) } : {});
}

function table(token: Tokens.Table, depth: number): Tree {
  const head = token.header.map((cell) =>
    // An empty heading cell names nothing.
    cell.text.trim() === '' ? element('td', []) : element('th', inline(cell, depth), { scope: 'col' }),
  );
  const rows = token.rows.map((row) =>
    element(
      'tr',
      row.map((cell) => element('td', inline(cell, depth))),
    ),
  );
  return element('table', [element('thead', [element('tr', head)]), element('tbody', rows)]);
}

function inline(parent: { readonly text?: string; readonly tokens?: Token[] | undefined }, depth: number): Tree[] {
  return parent.tokens === undefined
    ? [withCharacters(parent.text ?? '')]
    : parent.tokens.flatMap((token) => inlineToken(token, depth + 1));
}

function inlineToken(token: Token, depth: number): Tree[] {
  if (depth > MAX_DEPTH) {
    return [token.raw];
  }
  switch (token.type) {
    case 'strong':
      return [element('strong', inline(token, depth))];
    case 'em':
      return [element('em', inline(token, depth))];
    case 'del':
      return [element('del', inline(token, depth))];
    case 'codespan':
      return [element('code', [(token as Tokens.Codespan).text])];
    case 'br':
      return [element('br', [])];
    case 'link':
      return link(token as Tokens.Link, depth);
    case 'image': {
      // Loading one would tell its server that somebody reads this.
      const { text, href } = token as Tokens.Image;
      return [`${text} (${href})`];
    }
    case 'escape':
      return [(token as Tokens.Escape).text];
    case 'text': {
      const { tokens, text } = token as Tokens.Text;
      return tokens === undefined ? [withCharacters(text)] : inline({ tokens }, depth);
    }
    default:
      // HTML above all: it is shown as it was written.
      return [token.raw];
  }
}

const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };

/** Character references as the characters that they mean: the page takes text as text, not as HTML. */
function withCharacters(text: string): string {
  return text.replace(
    /&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,6}));/gi,
    (whole, decimal?: string, hex?: string, name?: string) => {
      if (name !== undefined) {
        return NAMED[name.toLowerCase()] ?? whole;
      }
      const point = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal);
      return point > 0 && point <= 0x10ffff ? String.fromCodePoint(point) : whole;
    },
  );
}

function link(token: Tokens.Link, depth: number): Tree[] {
  const children = inline(token, depth);
  // Where it leads is shown on hovering; anything but the web and mail is no link.
  return LINK.test(token.href)
    ? [element('a', children, { href: token.href, title: token.href })]
    : [...children, ` (${token.href})`];
}
