/**
 * Where the daemon is: the order of the search, without touching the machine.
 *
 * 1. the setting `botframework.path`
 * 2. the binary inside the extension
 * 3. `botframework` on the PATH
 * 4. a Python that has the package: the setting `botframework.interpreter`, the Python extension's, `python3` on the PATH
 *
 * A path that the user set and that is not there is an error; nothing else takes its place.
 */
import * as posix from 'node:path/posix';
import * as win32 from 'node:path/win32';

export const PROGRAM = 'botframework';

/** How a candidate was found; the log names it. */
export type Origin = 'setting' | 'bundled' | 'path' | 'interpreterSetting' | 'pythonExtension' | 'pythonOnPath';

/** A file to look at. */
export interface Candidate {
  readonly origin: Origin;
  readonly file: string;
  /** True: a Python that must have the package; false: the daemon itself. */
  readonly isPython: boolean;
}

/** What the search needs to know about the machine and the user's wishes. */
export interface Surroundings {
  readonly platform: NodeJS.Platform;
  readonly home: string;
  /** The setting `botframework.path`; empty: unset. */
  readonly path: string;
  /** The setting `botframework.interpreter`; empty: unset. */
  readonly interpreter: string;
  /** The extension's own folder. */
  readonly extensionPath: string;
  /** The environment variable PATH. */
  readonly searchPath: string;
  readonly workspaceFolders: readonly string[];
  readonly trusted: boolean;
}

/** A command line, without the arguments that every start has. */
export interface Command {
  readonly origin: Origin;
  readonly command: string;
  readonly args: readonly string[];
}

/** What a candidate turned out to be. */
export interface Probe {
  /** Whether there is a file of that name. */
  isFile(file: string): Promise<boolean>;
  /** Whether this Python can import the package. */
  hasPackage(python: string): Promise<boolean>;
  /** The Python extension's interpreter for this window; undefined: none. */
  activeInterpreter(): Promise<string | undefined>;
}

/** Nothing was found. `tried` is in the order of the search. */
export interface NotFound {
  readonly kind: 'missing' | 'noPackage';
  /** The setting that names something unusable; undefined: nothing was set and nothing was found. */
  readonly setting: 'botframework.path' | 'botframework.interpreter' | undefined;
  readonly tried: readonly string[];
}

/** The places to look at before any Python, best first. */
export function programs(around: Surroundings): Candidate[] {
  if (around.path !== '') {
    return [{ origin: 'setting', file: expand(around.path, around), isPython: false }];
  }
  const path = pathOf(around);
  const name = executable(PROGRAM, around);
  return [
    // One file, or a folder of a program with its libraries.
    { origin: 'bundled', file: path.join(around.extensionPath, 'bin', name), isPython: false },
    { origin: 'bundled', file: path.join(around.extensionPath, 'bin', PROGRAM, name), isPython: false },
    ...onPath(name, 'path', false, around),
  ];
}

/** The Pythons to ask, best first; `active` is the Python extension's. */
export function pythons(around: Surroundings, active: string | undefined): Candidate[] {
  if (around.interpreter !== '') {
    return [{ origin: 'interpreterSetting', file: expand(around.interpreter, around), isPython: true }];
  }
  const found: Candidate[] = [];
  // The workspace chooses the active interpreter, by its settings or by a folder such as .venv.
  if (active !== undefined && around.trusted) {
    found.push({ origin: 'pythonExtension', file: active, isPython: true });
  }
  const names = around.platform === 'win32' ? ['python.exe'] : ['python3'];
  return [...found, ...names.flatMap((name) => onPath(name, 'pythonOnPath', true, around))];
}

/** Search in the documented order. */
export async function find(around: Surroundings, probe: Probe): Promise<Command | NotFound> {
  const tried: string[] = [];
  for (const candidate of programs(around)) {
    tried.push(candidate.file);
    if (await probe.isFile(candidate.file)) {
      return { origin: candidate.origin, command: candidate.file, args: [] };
    }
    if (candidate.origin === 'setting') {
      return { kind: 'missing', setting: 'botframework.path', tried };
    }
  }
  const active = around.interpreter === '' && around.trusted ? await probe.activeInterpreter() : undefined;
  for (const candidate of pythons(around, active)) {
    tried.push(candidate.file);
    const isThere = await probe.isFile(candidate.file);
    if (isThere && (await probe.hasPackage(candidate.file))) {
      // -P: a folder named botframework where the process starts is not the package.
      return { origin: candidate.origin, command: candidate.file, args: ['-P', '-m', PROGRAM] };
    }
    if (candidate.origin === 'interpreterSetting') {
      return { kind: isThere ? 'noPackage' : 'missing', setting: 'botframework.interpreter', tried };
    }
  }
  return { kind: 'missing', setting: undefined, tried };
}

export function isFound(result: Command | NotFound): result is Command {
  return 'command' in result;
}

/** `~` is the home folder; everything else is taken as it is. */
function expand(file: string, around: Surroundings): string {
  const trimmed = file.trim();
  return trimmed === '~' || trimmed.startsWith('~/') || trimmed.startsWith('~\\')
    ? pathOf(around).join(around.home, trimmed.slice(1))
    : trimmed;
}

function executable(name: string, around: Surroundings): string {
  return around.platform === 'win32' ? `${name}.exe` : name;
}

function onPath(name: string, origin: Origin, isPython: boolean, around: Surroundings): Candidate[] {
  const path = pathOf(around);
  return (
    around.searchPath
      .split(path.delimiter)
      // A relative entry means another folder wherever the process starts.
      .filter((folder) => path.isAbsolute(folder))
      .filter((folder) => around.trusted || !around.workspaceFolders.some((root) => isInside(folder, root, around)))
      .map((folder) => ({ origin, file: path.join(folder, name), isPython }))
  );
}

/** Whether `folder` is `root` or below it. */
function isInside(folder: string, root: string, around: Surroundings): boolean {
  const path = pathOf(around);
  const way = path.relative(root, folder);
  return way === '' || (way !== '..' && !way.startsWith(`..${path.sep}`) && !path.isAbsolute(way));
}

function pathOf(around: Surroundings): typeof posix {
  return around.platform === 'win32' ? win32 : posix;
}
