/** The daemon as a process: its start, its last words and its certain end. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';

import type { Exit } from './failures.ts';

/** Lines of standard error that are remembered for the message after a crash. */
export const KEPT_LINES = 20;
/** Characters of one remembered line. */
const KEPT_CHARS = 1_000;
/** Milliseconds that a dead process's standard error may take to arrive. */
const LAST_WORDS_MS = 200;

export interface DaemonProcess {
  readonly child: ChildProcessWithoutNullStreams;
  /** Resolves after the end, once its last lines are there. Never rejects. */
  readonly exited: Promise<Exit>;
  /** The last lines of standard error, oldest first, at most {@link KEPT_LINES}. */
  lastLines(): readonly string[];
  /** Wait for the end, and force it after that many milliseconds. Never rejects. */
  end(graceMs: number): Promise<Exit>;
}

/**
 * Start a process.
 *
 * @param onLine - gets every line of standard error
 * @throws NodeJS.ErrnoException, when there is no process
 */
export async function start(
  command: string,
  args: readonly string[],
  cwd: string,
  onLine: (line: string) => void,
): Promise<DaemonProcess> {
  // Not detached and without a shell: its parent is this extension host, which is what the daemon watches.
  const child = spawn(command, [...args], { cwd, stdio: 'pipe', windowsHide: true });
  const exited = exitOf(child);
  const kept: string[] = [];
  createInterface({ input: child.stderr, crlfDelay: Infinity }).on('line', (line) => {
    kept.push(line.slice(0, KEPT_CHARS));
    if (kept.length > KEPT_LINES) {
      kept.shift();
    }
    onLine(line);
  });
  // Writing to a process that just died is no news: `exited` tells it.
  child.stdin.on('error', () => undefined);
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  child.on('error', () => undefined);
  return {
    child,
    exited,
    lastLines: () => [...kept],
    end: async (graceMs) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
      try {
        return await exited;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

function exitOf(child: ChildProcessWithoutNullStreams): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      const exit = { code, signal };
      // `close` comes when the pipes are empty; a grandchild could hold them open for ever.
      const timer = setTimeout(() => {
        resolve(exit);
      }, LAST_WORDS_MS);
      child.once('close', () => {
        clearTimeout(timer);
        resolve(exit);
      });
    });
  });
}
