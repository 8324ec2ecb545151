/** Changes of settings: what the daemon hears by itself needs nothing, what it hears only at its start restarts it. */
import * as vscode from 'vscode';

import { readText, SECTION, writeSettings, type Settings } from './configuration.ts';
import type { Session } from './daemon/session.ts';
import { chosenSettings, type ServedRole } from './models/roles.ts';
import type { ModelEntry } from './protocol.ts';
import { refusals, startOptions, userValues, type Setting, type Tree } from './settings.ts';

/** A file; the embedded one is what an unset setting means. */
type ChosenModel = Pick<ModelEntry, 'path' | 'embedded'>;

export interface SettingsWatch extends vscode.Disposable {
  /** Remember the model that runs already: settings change, and nothing restarts. */
  rememberModel(model: ChosenModel, roles: readonly ServedRole[]): Promise<void>;
  /** Remember a model that does not run yet: settings change, and the daemon starts anew, once. */
  startWithModel(model: ChosenModel, roles: readonly ServedRole[]): Promise<void>;
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
  const rememberModel: SettingsWatch['rememberModel'] = async (model, roles) => {
    isRemembering = true;
    try {
      await writeSettings(settings.all, chosenSettings(model, roles, userValues(settings.all)));
    } finally {
      isRemembering = false;
    }
  };
  return {
    rememberModel,
    startWithModel: async (model, roles) => {
      await rememberModel(model, roles);
      await session.restart();
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
