/** Conversations on disk: whole or not at all, for nobody else's eyes, and nothing in the folder is in the way. */
import assert from 'node:assert/strict';
import { mkdtemp, mkdir, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';

import { ConversationFolder } from '../../../src/chat/folder.ts';

async function folder(context: TestContext): Promise<{ path: string; shelf: ConversationFolder }> {
  const outer = await mkdtemp(join(tmpdir(), 'conversations-'));
  context.after(() => rm(outer, { recursive: true }));
  const path = join(outer, 'not', 'there');
  return { path, shelf: new ConversationFolder(path) };
}

test('a folder that is not there is empty, and is made by the first write', async (context) => {
  const { shelf } = await folder(context);
  assert.deepEqual(await shelf.read(), []);
  await shelf.write('a', { text: 'ä' });
  assert.deepEqual(await shelf.read(), [{ text: 'ä' }]);
});

test('a write replaces what was there, and leaves nothing beside it', async (context) => {
  const { path, shelf } = await folder(context);
  await shelf.write('a', 1);
  await shelf.write('a', 2);
  assert.deepEqual(await shelf.read(), [2]);
  assert.deepEqual(await readdir(path), ['a.json']);
});

test('only the user may look into it', { skip: process.platform === 'win32' }, async (context) => {
  const { path, shelf } = await folder(context);
  await shelf.write('a', 1);
  assert.equal((await stat(path)).mode & 0o077, 0);
  assert.equal((await stat(join(path, 'a.json'))).mode & 0o077, 0);
});

test('what is removed is gone, once or twice', async (context) => {
  const { shelf } = await folder(context);
  await shelf.write('a', 1);
  await shelf.remove('a');
  await shelf.remove('a');
  assert.deepEqual(await shelf.read(), []);
});

test('half a file, a huge file, a folder and a stranger are passed over', async (context) => {
  const { path, shelf } = await folder(context);
  await shelf.write('good', 'good');
  await writeFile(join(path, 'half.json'), '{"version": 1, "id');
  await writeFile(join(path, 'huge.json'), '"');
  await truncate(join(path, 'huge.json'), 64 * 1024 * 1024);
  await mkdir(join(path, 'folder.json'));
  await writeFile(join(path, 'b.json.7.new'), '1');
  assert.deepEqual(
    (await shelf.read()).filter((value) => value !== undefined),
    ['good'],
  );
});
