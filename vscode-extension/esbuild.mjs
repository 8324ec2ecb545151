// Two bundles: the extension for the extension host (Node, CommonJS), and the chat's page for the webview (browser).
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { build, context } from 'esbuild';

const production = process.argv.includes('--production');
const watch = process.argv.includes('--watch');

/** @type {import('esbuild').BuildOptions} */
const shared = {
  bundle: true,
  minify: production,
  sourcemap: !production,
  metafile: true,
  legalComments: 'none',
  logLevel: 'warning',
};

/** @type {import('esbuild').BuildOptions[]} */
const bundles = [
  {
    ...shared,
    entryPoints: ['src/extension.ts'],
    outfile: 'dist/extension.js',
    platform: 'node',
    format: 'cjs',
    // VS Code 1.91 runs extensions on Node 20.
    target: 'node20',
    external: ['vscode'],
  },
  {
    ...shared,
    entryPoints: ['src/chat/webview/main.ts'],
    outfile: 'dist/chat.js',
    platform: 'browser',
    format: 'iife',
    target: 'es2022',
  },
];

/**
 * The licences of what was bundled: most of them ask for their text in every copy.
 *
 * @param {import('esbuild').Metafile[]} metafiles
 */
function notices(metafiles) {
  const folders = new Set(
    metafiles
      .flatMap(({ inputs }) => Object.keys(inputs))
      .map((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0])
      .filter((folder) => folder !== undefined),
  );
  return [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((each) => /^licen[cs]e(\.|$)/i.test(each));
    const text = file === undefined ? '' : readFileSync(join(folder, file), 'utf8').trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
}

if (watch) {
  for (const options of bundles) {
    await (await context(options)).watch();
  }
} else {
  const built = await Promise.all(bundles.map((options) => build(options)));
  const rule = `\n${'-'.repeat(80)}\n\n`;
  writeFileSync('dist/ThirdPartyNotices.txt', notices(built.map(({ metafile }) => metafile)).join(rule));
}
