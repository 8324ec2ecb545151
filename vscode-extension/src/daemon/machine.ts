/** What the search and the start need to know about files of this machine. */
import { execFile } from 'node:child_process';
import { access, constants, open, stat } from 'node:fs/promises';

import type { Failure } from '../api.ts';
import { builtFor, HEADER_BYTES, runsOn } from './binary.ts';
import { notExecutable, wrongArchitecture } from './failures.ts';

/** Milliseconds for a Python to say whether it has the package. */
const ASK_PYTHON_MS = 10_000;
// Importing the package would cost more, and tell no more.
const HAS_PACKAGE = 'import importlib.util, sys; sys.exit(importlib.util.find_spec("botframework") is None)';

export async function isFile(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

/** @param cwd - where the daemon will start: what can be imported depends on it */
export function hasPackage(python: string, cwd: string): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(python, ['-P', '-c', HAS_PACKAGE], { cwd, timeout: ASK_PYTHON_MS, windowsHide: true }, (error) => {
      resolve(error === null);
    });
  });
}

/** Why a file cannot be started here; undefined: nothing speaks against it. */
export async function inspectProgram(file: string): Promise<Failure | undefined> {
  try {
    await access(file, constants.X_OK);
  } catch (error) {
    // A file that is not there is for the start to report.
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? notExecutable(file) : undefined;
  }
  const target = builtFor(await header(file));
  return target === undefined || runsOn(target, process.platform, process.arch)
    ? undefined
    : wrongArchitecture(file, target, `${process.platform} on ${process.arch}`);
}

async function header(file: string): Promise<Uint8Array> {
  try {
    const handle = await open(file);
    try {
      const { buffer, bytesRead } = await handle.read(new Uint8Array(HEADER_BYTES), 0, HEADER_BYTES, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch {
    return new Uint8Array();
  }
}
