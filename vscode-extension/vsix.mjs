// Packs the .vsix. With a folder that `make binary` made it carries that program and is for its system alone, else it is
// for every system and carries none. The bundles are there already: `npm run package` makes them first.
//
//     node vsix.mjs                                 dist/botframework.vsix
//     node vsix.mjs --binary ../dist/botframework   dist/botframework-linux-x64.vsix
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { createVSIX, listFiles, PackageManager } from '@vscode/vsce';

import { builtFor, HEADER_BYTES } from './src/daemon/binary.ts';

/** Seconds of the first day that a zip file can hold in every time zone: the same files make the same package. */
const NO_TIME = '315619200';
const HERE = import.meta.dirname;
/** Where `src/daemon/find.ts` looks. */
const CARRIED = join('bin', 'botframework');

/**
 * VS Code's name of the system that the program was built for.
 *
 * @param {string} folder
 */
function targetOf(folder) {
  const program = ['botframework', 'botframework.exe'].map((name) => join(folder, name)).find(existsSync);
  if (program === undefined) {
    throw new Error(`${folder} holds no program botframework: make binary`);
  }
  const { platform, arches = [] } = builtFor(readFileSync(program).subarray(0, HEADER_BYTES)) ?? {};
  if (platform === undefined || arches.length !== 1) {
    throw new Error(`${program} is not a program for one system`);
  }
  return `${platform}-${arches[0] === 'arm' ? 'armhf' : arches[0]}`;
}

/**
 * @param {string | undefined} binary
 * @param {string | undefined} out
 */
async function pack(binary, out) {
  const target = binary === undefined ? undefined : targetOf(binary);
  const name = target === undefined ? 'botframework.vsix' : `botframework-${target}.vsix`;
  const listed = await listFiles({ cwd: HERE, packageManager: PackageManager.None });
  // A copy: what somebody put into the extension's own bin is in no package, and packing leaves nothing there.
  const stage = mkdtempSync(join(HERE, 'dist', 'stage-'));
  try {
    for (const file of ['.vscodeignore', ...listed.filter((file) => !file.startsWith('bin/'))]) {
      cpSync(join(HERE, file), join(stage, file));
    }
    if (binary !== undefined) {
      // A .vsix has no symbolic links.
      cpSync(binary, join(stage, CARRIED), { recursive: true, dereference: true });
    }
    await createVSIX({
      cwd: stage,
      packagePath: out ?? join(HERE, 'dist', name),
      ...(target === undefined ? {} : { target }),
      dependencies: false,
      allowMissingRepository: true,
    });
  } finally {
    rmSync(stage, { recursive: true });
  }
}

const { values } = parseArgs({ options: { binary: { type: 'string' }, out: { type: 'string' } } });
process.env.TZ = 'UTC';
process.env.SOURCE_DATE_EPOCH ??= NO_TIME;
try {
  await pack(values.binary, values.out);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
