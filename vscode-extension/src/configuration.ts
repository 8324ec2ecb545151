/** VS Code's settings of our section, as `settings.ts` wants them. */
import * as vscode from 'vscode';

import { differing, type Property, type Setting } from './settings.ts';

export const SECTION = 'botframework';

/** package.json is the one list of settings; a test compares it with the daemon's. */
function properties(extension: vscode.Extension<unknown>): ReadonlyMap<string, Property> {
  const manifest = extension.packageJSON as {
    contributes: { configuration: readonly { properties: Record<string, Property> }[] };
  };
  return new Map(
    manifest.contributes.configuration.flatMap((part) =>
      Object.entries(part.properties).map(([name, property]) => [name.slice(SECTION.length + 1), property] as const),
    ),
  );
}

/** The settings as they are now. Read once per change: completion asks at every key. */
export class Settings implements vscode.Disposable {
  readonly #known: ReadonlyMap<string, Property>;
  readonly #listening: vscode.Disposable;
  #read: readonly Setting[] | undefined;

  /** To be made before anybody else listens to changes of settings. */
  constructor(extension: vscode.Extension<unknown>) {
    this.#known = properties(extension);
    this.#listening = vscode.Disposable.from(
      vscode.workspace.onDidChangeConfiguration(() => {
        this.#read = undefined;
      }),
      vscode.workspace.onDidGrantWorkspaceTrust(() => {
        this.#read = undefined;
      }),
    );
  }

  get all(): readonly Setting[] {
    this.#read ??= this.#readAll();
    return this.#read;
  }

  dispose(): void {
    this.#listening.dispose();
  }

  #readAll(): Setting[] {
    const configuration = vscode.workspace.getConfiguration(SECTION);
    return [...this.#known].map(([key, property]) => ({ key, property, inspected: configuration.inspect(key) ?? {} }));
  }
}

/** The value that is set, or an empty text; never a value of another type. */
export function readText(settings: readonly Setting[], key: string): string {
  const value = settings.find((each) => each.key === key)?.inspected.globalValue;
  return typeof value === 'string' ? value : '';
}

/** Make the user's settings so, undefined unsets one; what is so already is not written again. */
export async function writeSettings(
  settings: readonly Setting[],
  wanted: Readonly<Record<string, unknown>>,
): Promise<void> {
  const configuration = vscode.workspace.getConfiguration(SECTION);
  for (const [key, value] of differing(settings, wanted)) {
    await configuration.update(key, value, vscode.ConfigurationTarget.Global);
  }
}

/** Set something where it is set now: in the workspace if the workspace says something about it, else for the user. */
export async function write(key: string, value: unknown): Promise<void> {
  const configuration = vscode.workspace.getConfiguration(SECTION);
  const isWorkspaces = configuration.inspect(key)?.workspaceValue !== undefined && vscode.workspace.isTrusted;
  await configuration.update(
    key,
    value,
    isWorkspaces ? vscode.ConfigurationTarget.Workspace : vscode.ConfigurationTarget.Global,
  );
}
