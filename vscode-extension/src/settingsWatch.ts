/** Changes of settings: what the daemon hears by itself needs nothing, what it hears only at its start restarts it. */
import * as vscode from 'vscode';

import { readText, SECTION, type Settings } from './configuration.ts';
import type { Session } from './daemon/session.ts';
import { chosenSettings, type ServedRole } from './models/roles.ts';
import type { ModelEntry } from './protocol.ts';
import { refusals, startOptions, type Setting, type Tree } from './settings.ts';

export interface SettingsWatch extends vscode.Disposable {
  /** Remember the model that runs already: settings change, and nothing restarts. */
  rememberModel(model: ModelEntry, roles: readonly ServedRole[]): Promise<void>;
}

export function watchSettings(session: Session, settings: Settings): SettingsWatch {
  let current = startFacts(settings.all);
  let isRemembering = false;
  let told = '';

  const tellRefusals = (): void => {
    const found = refusals(settings.all, vscode.workspace.isTrusted);
    const message = found.map(({ key, message }) => `${SECTION}.${key} ${message}`).join('; ');
    if (message !== '' && message !== told) {
      void warn(
        `${message}. ${found.length === 1 ? 'The default is' : 'The defaults are'} used instead.`,
        found.map(({ key }) => `${SECTION}.${key}`),
      );
    }
    told = message;
  };
  const listening = vscode.Disposable.from(
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (!change.affectsConfiguration(SECTION)) {
        return;
      }
      tellRefusals();
      const now = startFacts(settings.all);
      const isOther = now.rest !== current.rest || (now.chosen !== current.chosen && !isRemembering);
      current = now;
      if (isOther) {
        void session.restart();
      } else {
        session.settingsChanged();
      }
    }),
    vscode.workspace.onDidGrantWorkspaceTrust(() => {
      current = startFacts(settings.all);
      tellRefusals();
      void session.restart();
    }),
  );
  tellRefusals();
  return {
    rememberModel: async (model, roles) => {
      isRemembering = true;
      try {
        const configuration = vscode.workspace.getConfiguration(SECTION);
        for (const [key, value] of Object.entries(chosenSettings(model, roles))) {
          if (configuration.inspect(key)?.globalValue !== value) {
            await configuration.update(key, value, vscode.ConfigurationTarget.Global);
          }
        }
      } finally {
        isRemembering = false;
      }
    },
    dispose: () => {
      listening.dispose();
    },
  };
}

/** What a running process cannot be told any more. */
function startFacts(settings: readonly Setting[]): { readonly chosen: string; readonly rest: string } {
  const { model, models, ...rest } = startOptions(settings, vscode.workspace.isTrusted);
  const { fim, chat, ...others } = (models ?? {}) as Tree;
  const places = [readText(settings, 'path'), readText(settings, 'interpreter')];
  return { chosen: JSON.stringify([model, fim, chat]), rest: JSON.stringify([places, rest, others]) };
}

async function warn(message: string, keys: readonly string[]): Promise<void> {
  const open = 'Open Settings';
  if ((await vscode.window.showWarningMessage(message, open)) === open) {
    const query = keys.map((key) => `@id:${key}`).join(' ');
    await vscode.commands.executeCommand('workbench.action.openSettings', query);
  }
}
