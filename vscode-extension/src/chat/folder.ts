/** The folder in which conversations are kept, a file each. */
import { mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { Shelf } from './conversations.ts';

/** Bytes of a file that is read: a full conversation in UTF-8 and JSON's escapes, and some. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** They hold the user's words and code. */
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const ENDING = '.json';

export class ConversationFolder implements Shelf {
  readonly #path: string;

  /** @param path - of the folder; it is made when there is something to write */
  constructor(path: string) {
    this.#path = path;
  }

  async read(): Promise<readonly unknown[]> {
    const values: unknown[] = [];
    for (const name of await this.#names()) {
      values.push(await readJson(join(this.#path, name)));
    }
    return values;
  }

  async write(id: string, value: unknown): Promise<void> {
    await mkdir(this.#path, { recursive: true, mode: FOLDER_MODE });
    const path = join(this.#path, id + ENDING);
    // The old one or the new one, whatever happens in between; two windows do not write into the same file.
    const fresh = `${path}.${String(process.pid)}.new`;
    await writeFile(fresh, JSON.stringify(value), { mode: FILE_MODE });
    await rename(fresh, path);
  }

  async remove(id: string): Promise<void> {
    await rm(join(this.#path, id + ENDING), { force: true });
  }

  async #names(): Promise<string[]> {
    try {
      return (await readdir(this.#path)).filter((name) => name.endsWith(ENDING));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        return [];
      }
      throw error;
    }
  }
}

/** What is in the file; undefined if it cannot be read, or is none of ours. */
async function readJson(path: string): Promise<unknown> {
  try {
    return (await stat(path)).size > MAX_FILE_BYTES ? undefined : JSON.parse(await readFile(path, 'utf8'));
  } catch {
    return undefined;
  }
}
