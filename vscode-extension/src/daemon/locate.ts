/** Search for the daemon on this machine. */
import { homedir } from 'node:os';

import * as vscode from 'vscode';

import type { Failure } from '../api.ts';
import { readText } from '../configuration.ts';
import type { Setting } from '../settings.ts';
import { notFound } from './failures.ts';
import { find, isFound, type Command } from './find.ts';
import { hasPackage, isFile } from './machine.ts';

/** @param cwd - where the daemon will start */
export async function locate(
  extensionPath: string,
  settings: readonly Setting[],
  cwd: string,
): Promise<Command | Failure> {
  const folders = vscode.workspace.workspaceFolders ?? [];
  const result = await find(
    {
      platform: process.platform,
      home: homedir(),
      path: readText(settings, 'path'),
      interpreter: readText(settings, 'interpreter'),
      extensionPath,
      searchPath: process.env.PATH ?? '',
      workspaceFolders: folders.filter(({ uri }) => uri.scheme === 'file').map(({ uri }) => uri.fsPath),
      trusted: vscode.workspace.isTrusted,
    },
    { isFile, hasPackage: (python) => hasPackage(python, cwd), activeInterpreter },
  );
  return isFound(result) ? result : notFound(result);
}

/** As far as it is used here: https://github.com/microsoft/vscode-python, `api.ts`. */
interface PythonApi {
  readonly environments?: {
    getActiveEnvironmentPath(resource?: vscode.Uri): { readonly path: string };
    resolveEnvironment(path: {
      readonly path: string;
    }): Promise<{ readonly executable: { readonly uri?: vscode.Uri | undefined } } | undefined>;
  };
}

/** The interpreter that the Python extension has chosen for the first folder. */
async function activeInterpreter(): Promise<string | undefined> {
  const extension = vscode.extensions.getExtension<PythonApi | undefined>('ms-python.python');
  if (extension === undefined) {
    return undefined;
  }
  try {
    const environments = (await extension.activate())?.environments;
    const chosen = environments?.getActiveEnvironmentPath(vscode.workspace.workspaceFolders?.[0]?.uri);
    const resolved = chosen === undefined ? undefined : await environments?.resolveEnvironment(chosen);
    return resolved?.executable.uri?.fsPath;
  } catch {
    return undefined; // Its trouble is not ours: the search goes on without it.
  }
}
