/** The least of a test runner: promises with a deadline, run in order in the extension host, told as lines of JSON. */
import { appendFile } from 'node:fs/promises';

/** Milliseconds for one promise to be kept. */
const DEADLINE_MS = 30_000;
/** Milliseconds between two looks at something that fires no event. */
const LOOK_MS = 20;

interface Test {
  readonly promise: string;
  readonly keep: () => Promise<void>;
}

const tests: Test[] = [];

export function test(promise: string, keep: () => Promise<void>): void {
  tests.push({ promise, keep });
}

/** Runs everything; each promise with what broke it (empty: nothing) becomes a line of the report. */
export async function runAll(report: string): Promise<void> {
  for (const { promise, keep } of tests) {
    const broken = await outcome(keep);
    await appendFile(report, `${JSON.stringify({ promise, broken })}\n`);
  }
}

async function outcome(keep: () => Promise<void>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`not within ${DEADLINE_MS} ms`));
    }, DEADLINE_MS);
  });
  try {
    await Promise.race([keep(), deadline]);
    return '';
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until something holds; the test's own deadline ends it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    await new Promise((resolve) => {
      setTimeout(resolve, LOOK_MS);
    });
  }
}
