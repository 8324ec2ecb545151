/** Code to coloured pieces. Pure. */
import bash from 'highlight.js/lib/languages/bash';
import c from 'highlight.js/lib/languages/c';
import cpp from 'highlight.js/lib/languages/cpp';
import csharp from 'highlight.js/lib/languages/csharp';
import css from 'highlight.js/lib/languages/css';
import diff from 'highlight.js/lib/languages/diff';
import go from 'highlight.js/lib/languages/go';
import ini from 'highlight.js/lib/languages/ini';
import java from 'highlight.js/lib/languages/java';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import kotlin from 'highlight.js/lib/languages/kotlin';
import markdown from 'highlight.js/lib/languages/markdown';
import php from 'highlight.js/lib/languages/php';
import python from 'highlight.js/lib/languages/python';
import ruby from 'highlight.js/lib/languages/ruby';
import rust from 'highlight.js/lib/languages/rust';
import sql from 'highlight.js/lib/languages/sql';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';
import { createLowlight } from 'lowlight';

import type { Tree } from './tree.ts';
import { element } from './tree.ts';

/** Characters beyond which code stays plain: it is coloured anew with every piece that arrives, and that must stay quick. */
export const MAX_HIGHLIGHTED_CHARACTERS = 20_000;

/** The languages that people ask about most; each costs some kilobytes of the page. Their aliases come with them. */
const lowlight = createLowlight({
  bash, c, cpp, csharp, css, diff, go, ini, java, javascript, json, kotlin, markdown, php, python, ruby, rust, sql, typescript,
  xml, yaml,
}); // prettier-ignore

type Coloured = ReturnType<typeof lowlight.highlight>['children'][number];

/** The code's pieces: spans with classes of highlight.js, and text. The text is always the code, unchanged. */
export function highlight(code: string, language: string): readonly Tree[] {
  const name = language.toLowerCase();
  if (code.length > MAX_HIGHLIGHTED_CHARACTERS || !lowlight.registered(name)) {
    return [code];
  }
  return lowlight.highlight(name, code).children.flatMap(toTree);
}

function toTree(node: Coloured): readonly Tree[] {
  if (node.type === 'text') {
    return [node.value];
  }
  if (node.type !== 'element') {
    return [];
  }
  const names = node.properties.className;
  const classes = Array.isArray(names) ? names.filter((name) => typeof name === 'string').join(' ') : '';
  return [element('span', node.children.flatMap(toTree), classes === '' ? {} : { class: classes })];
}
