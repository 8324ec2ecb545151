/** An answer becomes blocks of a few harmless kinds, and its text arrives unchanged. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MAX_HIGHLIGHTED_CHARACTERS, highlight } from '../../../src/chat/webview/highlight.ts';
import { markdownBlocks } from '../../../src/chat/webview/markdown.ts';
import { ATTRIBUTES, TAGS, isCode, textOf } from '../../../src/chat/webview/tree.ts';
import type { Code, Element, Tree } from '../../../src/chat/webview/tree.ts';

function all(tree: Tree): Tree[] {
  return typeof tree === 'string' || isCode(tree) ? [tree] : [tree, ...tree.children.flatMap(all)];
}

function trees(markdown: string): Tree[] {
  return markdownBlocks(markdown).flatMap((block) => block.trees.flatMap(all));
}

function elements(markdown: string, tag: string): Element[] {
  return trees(markdown).filter(
    (tree): tree is Element => typeof tree !== 'string' && !isCode(tree) && tree.tag === tag,
  );
}

function codes(markdown: string): Code[] {
  return trees(markdown).filter((tree): tree is Code => typeof tree !== 'string' && isCode(tree));
}

const ATTACKS = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg/onload=alert(1)>',
  'text <b onmouseover="alert(1)">bold</b> text',
  '<iframe src="javascript:alert(1)"></iframe>',
  '<style>body{display:none}</style>',
  '<a href="javascript:alert(1)">x</a>',
  '[x](javascript:alert(1))',
  '[x](JaVaScRiPt:alert(1))',
  '[x](java\tscript:alert(1))',
  '[x](&#106;avascript:alert(1))',
  '[x](data:text/html,<script>alert(1)</script>)',
  '[x](vbscript:x)',
  '[x](command:workbench.action.terminal.new)',
  '[x](file:///etc/passwd)',
  '[x](vscode://publisher.extension/run)',
  '<javascript:alert(1)>',
  '![x](https://example.org/beacon.png)',
  '![x](x "onerror=alert(1)")',
  '[x]: javascript:alert(1)\n\n[x]',
  '```html\n<script>alert(1)</script>\n```',
  '```"><script>alert(1)</script>\ncode\n```',
  '`<script>alert(1)</script>`',
  '| <img src=x onerror=alert(1)> |\n|-|\n| <script>alert(1)</script> |',
  '- <details open ontoggle=alert(1)>',
  '> <math><mtext><script>alert(1)</script></mtext></math>',
  '&lt;script&gt;alert(1)&lt;/script&gt;',
  '<!--><script>alert(1)</script>-->',
];

for (const attack of ATTACKS) {
  test(`only harmless elements and attributes come of ${JSON.stringify(attack)}`, () => {
    for (const tree of trees(attack)) {
      if (typeof tree === 'string') {
        continue;
      }
      const parts = isCode(tree) ? highlight(tree.code, tree.language).flatMap(all) : [tree];
      for (const part of parts) {
        if (typeof part !== 'string' && !isCode(part)) {
          assert.ok((TAGS as readonly string[]).includes(part.tag), part.tag);
          for (const [name, value] of Object.entries(part.attributes)) {
            assert.ok((ATTRIBUTES as readonly string[]).includes(name), name);
            assert.doesNotMatch(value, /^\s*(?:javascript|data|vbscript|command|file|vscode):/i);
          }
        }
      }
    }
    assert.deepEqual(
      elements(attack, 'a').filter(({ attributes }) => !/^(?:https?:|mailto:)/.test(attributes.href ?? '')),
      [],
    );
  });
}

test('HTML is shown as it was written', () => {
  const [block] = markdownBlocks('<b>a</b>\n');
  assert.ok(block);
  assert.equal(block.trees.map(textOf).join('').trim(), '<b>a</b>');
  assert.equal(
    trees('say <b>a</b> now')
      .filter((tree) => typeof tree === 'string')
      .join(''),
    'say <b>a</b> now',
  );
});

test('the ways of writing an angle bracket give an angle bracket, except in code', () => {
  const said = (markdown: string): string =>
    markdownBlocks(markdown)
      .flatMap((block) => block.trees.map(textOf))
      .join('');
  assert.equal(said('a &lt; b &amp; c &#62; d &#x3e; e < f'), 'a < b & c > d > e < f');
  assert.equal(said('`a &lt; b`'), 'a &lt; b');
  assert.equal(said('&nosuchthing; &#0; &#99999999;'), '&nosuchthing; \ufffd &#99999999;');
});

test('a link leads to the web and shows where', () => {
  const [link] = elements('[here](https://example.org/a?b=c)', 'a');
  assert.ok(link);
  assert.equal(link.attributes.href, 'https://example.org/a?b=c');
  assert.equal(link.attributes.title, 'https://example.org/a?b=c');
});

test('code arrives unchanged, coloured or not, whatever its language is called', () => {
  const code = 'def f(x):\n\treturn x < 1 and "<b>" or `y`  \n\n# end';
  for (const language of [
    'python',
    'PYTHON',
    'py',
    'nosuchlanguage',
    '',
    'c++',
    '__proto__',
    'constructor',
    'python {.x}',
  ]) {
    const [found] = codes(`\`\`\`\`${language}\n${code}\n\`\`\`\``);
    assert.ok(found);
    assert.equal(found.code, code, language);
    assert.equal(highlight(found.code, found.language).map(textOf).join(''), code, language);
  }
  assert.ok(highlight('def f(): pass', 'python').some((piece) => typeof piece !== 'string'));
});

test('a fence that is still open reaches to the end', () => {
  assert.deepEqual(
    codes('Look:\n\n```python\nx = 1\ny =').map(({ code, language }) => [code, language]),
    [['x = 1\ny =', 'python']],
  );
});

test('code in a list is a block of code as well', () => {
  assert.deepEqual(
    codes('1. Do this:\n\n   ```js\n   let a;\n   ```\n').map(({ code }) => code),
    ['let a;'],
  );
});

test('headings begin below the one over the answer and leave no level out', () => {
  const tags = trees('#### a\n\n# b\n\n###### c\n\n### d').flatMap((tree) =>
    typeof tree !== 'string' && !isCode(tree) && /^h\d$/.test(tree.tag) ? [tree.tag] : [],
  );
  assert.deepEqual(tags, ['h3', 'h3', 'h4', 'h5']);
});

test('what is finished keeps its key while the text grows', () => {
  const before = markdownBlocks('One.\n\n```py\nx\n```\n\nTwo').map(({ key }) => key);
  const after = markdownBlocks('One.\n\n```py\nx\n```\n\nTwo and more').map(({ key }) => key);
  assert.equal(before.length, 3);
  assert.deepEqual(after.slice(0, 2), before.slice(0, 2));
  assert.notEqual(after[2], before[2]);
});

for (const [name, hostile] of [
  ['quotes', '> '.repeat(20_000)],
  ['lists', Array.from({ length: 300 }, (_, depth) => `${'  '.repeat(depth)}- x`).join('\n')],
  ['brackets', '['.repeat(20_000)],
  ['stars', '*a '.repeat(5_000)],
  ['emphasis', `${'**'.repeat(2_000)}a${'**'.repeat(2_000)}`],
] as const) {
  test(`deeply nested ${name} end neither the page nor the patience`, { timeout: 20_000 }, () => {
    assert.ok(markdownBlocks(hostile).length > 0);
  });
}

test('tables have headed columns, and none where the heading is empty', () => {
  const table = '| a |  |\n|---|---|\n| 1 | 2 |';
  assert.deepEqual(elements(table, 'th').map(textOf), ['a']);
  assert.deepEqual(elements(table, 'td').map(textOf), ['', '1', '2']);
});

test('code that is too long to be coloured again and again stays plain', () => {
  const code = 'x = 1\n'.repeat(MAX_HIGHLIGHTED_CHARACTERS);
  assert.deepEqual(highlight(code, 'python'), [code]);
});
