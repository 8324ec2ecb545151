/** What went wrong with the daemon, in one sentence or two with the next step. Pure. */
import type { Failure, FailureKind } from '../api.ts';
import type { Problem } from '../protocol.ts';
import type { Target } from './binary.ts';
import type { NotFound } from './find.ts';
import { readLine } from './log.ts';

/** Lines of the daemon's standard error that a message shows; the log has the rest. */
export const SHOWN_LINES = 3;
/** Characters of such a line that a message shows. */
export const SHOWN_CHARS = 160;

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export function notFound(result: NotFound): Failure {
  const file = result.tried.at(-1) ?? '';
  if (result.kind === 'noPackage') {
    return failure(
      'noPackage',
      `The Python that botframework.interpreter names (${file}) has no package botframework, or is older than 3.11. ` +
        'Install the package into it, or choose another one.',
    );
  }
  if (result.setting !== undefined) {
    return failure(
      'missing',
      `${result.setting} names ${file}, and there is no such file. Choose the file, or empty the setting.`,
    );
  }
  return failure(
    'missing',
    'The botframework daemon was not found: not in this extension, not on the PATH, and no Python has the package. ' +
      'Install it, or choose its file.',
  );
}

export function wrongArchitecture(file: string, target: Target | undefined, here: string): Failure {
  const built =
    target === undefined ? 'another kind of machine' : `${target.platform} on ${target.arches.join(' and ')}`;
  return failure(
    'wrongArchitecture',
    `${file} was built for ${built}, and this is ${here}. Choose a build for this machine.`,
  );
}

export function notExecutable(file: string): Failure {
  return failure(
    'notExecutable',
    `${file} may not be executed. Make it executable (chmod +x), or choose another file.`,
  );
}

/** From the error that `spawn` gives. */
export function cannotSpawn(file: string, code: string | undefined, here: string): Failure {
  switch (code) {
    case 'ENOENT':
      // The file was seen a moment ago: what is missing is the interpreter in its first line, or a loader.
      return failure(
        'missing',
        `${file} cannot be started: the file itself, or the program that its first line names, is not there. Choose another file.`,
      );
    case 'EACCES':
    case 'EPERM':
      return notExecutable(file);
    case 'ENOEXEC':
    case 'EBADARCH':
    case 'EFTYPE':
    case 'UNKNOWN':
      return wrongArchitecture(file, undefined, here);
    default:
      return failure('crashedAtStart', `${file} cannot be started (${code ?? 'no reason given'}). The log tells more.`);
  }
}

export function silent(file: string, seconds: number): Failure {
  return failure(
    'silent',
    `${file} did not answer within ${seconds} seconds and was ended. Is it the botframework daemon? Choose its file, or try again.`,
  );
}

/** @param said - the name that the program gave itself; empty: none */
export function notTheDaemon(file: string, said: string): Failure {
  const what = said === '' ? 'does not speak its protocol' : `calls itself ${quoted(said)}`;
  return failure('notTheDaemon', `${file} is not the botframework daemon: it ${what}. Choose the right file.`);
}

/**
 * @param version - the daemon's own
 * @param spoken - the protocol version that it told; undefined: none, as daemons before the first numbered one
 * @param expected - the protocol version of this extension
 */
export function wrongVersion(version: string, spoken: unknown, expected: number): Failure {
  const isNewer = typeof spoken === 'number' && spoken > expected;
  const theirs = typeof spoken === 'number' ? `version ${spoken}` : 'no numbered version';
  return failure(
    'wrongVersion',
    `The daemon ${quoted(version)} speaks ${theirs} of the protocol, this extension version ${expected}. ` +
      `Update ${isNewer ? 'the extension' : 'the daemon, or choose another one'}.`,
  );
}

export function crashedAtStart(exit: Exit, lastLines: readonly string[]): Failure {
  return failure(
    'crashedAtStart',
    `The botframework daemon ended before it answered (${ending(exit)}), twice, and is not started again by itself.`,
    lastLines,
  );
}

export function crashed(deaths: number, minutes: number, exit: Exit, lastLines: readonly string[]): Failure {
  return failure(
    'crashed',
    `The botframework daemon ended ${deaths} times in ${minutes} minutes (last: ${ending(exit)}) and is not started again by itself.`,
    lastLines,
  );
}

/** The daemon runs, its model does not. */
export function modelProblem(problem: Problem): string {
  const message = problem.message.trim().replace(/[.!]$/, '');
  return problem.kind.startsWith('Worker')
    ? `The model’s process does not run: ${message}. Restart it, or look into the log.`
    : `The model cannot be used: ${message}. Select another one, or correct the setting botframework.model.`;
}

/** The text of a message box: the sentence, and what the daemon said last. Message boxes have no line breaks. */
export function told(what: Failure): string {
  const lines = what.lastLines.slice(-SHOWN_LINES).map((line) => readLine(line).text.trim());
  const shown = lines.map((line) => (line.length > SHOWN_CHARS ? `${line.slice(0, SHOWN_CHARS - 1)}…` : line));
  return shown.length === 0 ? what.message : `${what.message} It said last: ${shown.join(' | ')}`;
}

/** As in `exit code 1`. */
export function ending(exit: Exit): string {
  return exit.signal !== null ? `signal ${exit.signal}` : `exit code ${String(exit.code ?? 'unknown')}`;
}

function quoted(text: string): string {
  return `“${text.length > 40 ? `${text.slice(0, 39)}…` : text}”`;
}

function failure(kind: FailureKind, message: string, lastLines: readonly string[] = []): Failure {
  return { kind, message, lastLines };
}
