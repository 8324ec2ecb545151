/** "Select Model": the daemon's list, or a file; then load it and remember the choice. */
import * as vscode from 'vscode';

import { DaemonError } from '../api.ts';
import type { Session } from '../daemon/session.ts';
import type { ModelEntry, ModelsResult } from '../protocol.ts';
import { modelLine } from './entries.ts';

interface Choice extends vscode.QuickPickItem {
  readonly entry?: ModelEntry;
  readonly action?: 'file' | 'folder';
}

/** @param remember - writes the setting without a restart: the daemon runs that model already. */
export async function selectModel(session: Session, remember: (path: string) => Promise<void>): Promise<void> {
  let listed: ModelsResult | undefined;
  if (session.state !== 'failed' && session.state !== 'stopped') {
    try {
      listed = await session.request('botframework/models/list', {});
    } catch (error) {
      if (!(error instanceof DaemonError) || error.kind !== 'MethodNotFound') {
        void vscode.window.showErrorMessage(`The models cannot be listed. ${text(error)}`);
        return;
      }
    }
  }
  if (listed === undefined) {
    await chooseFile();
    return;
  }
  const chosen = await vscode.window.showQuickPick(choices(listed), {
    title: 'Select model',
    placeHolder: listed.hasMore ? `The folder holds more files than are listed: ${listed.folder}` : listed.folder,
    matchOnDescription: true,
    matchOnDetail: true,
  });
  if (chosen?.entry !== undefined) {
    if (vscode.workspace.isTrusted) {
      await load(session, chosen.entry, remember);
    } else {
      // Here the daemon exchanges nothing while it runs; what the user sets for the machine counts all the same.
      await setModel(chosen.entry.embedded ? undefined : chosen.entry.path);
    }
  } else if (chosen?.action === 'file') {
    await chooseFile();
  } else if (chosen?.action === 'folder') {
    await openFolder(listed.folder);
  }
}

function choices(listed: ModelsResult): Choice[] {
  return [
    ...listed.models.map((entry) => ({ ...modelLine(entry), entry })),
    { label: '', kind: vscode.QuickPickItemKind.Separator },
    { label: '$(folder-opened) Choose a file…', description: '.gguf', action: 'file' },
    { label: '$(folder) Open the models folder', description: listed.folder, action: 'folder' },
  ];
}

async function load(session: Session, entry: ModelEntry, remember: (path: string) => Promise<void>): Promise<void> {
  try {
    await vscode.window.withProgress(
      { location: vscode.ProgressLocation.Notification, title: `Loading ${entry.name}`, cancellable: true },
      (progress, token) => {
        let reached = 0;
        return session.work('botframework/models/load', { path: entry.path }, token, ({ percentage, message }) => {
          const increment = Math.max(0, (percentage ?? reached) - reached);
          reached += increment;
          progress.report({ increment, ...(message === undefined ? {} : { message }) });
        });
      },
    );
  } catch (error) {
    if (!(error instanceof DaemonError && error.isCancelled)) {
      const again = 'Select Another';
      const answer = await vscode.window.showErrorMessage(`${entry.name} cannot be used. ${text(error)}`, again);
      if (answer === again) {
        await selectModel(session, remember);
      }
    }
    return;
  }
  await remember(entry.embedded ? '' : entry.path);
}

/** For a file outside the models folder, and when no daemon can list any: the setting restarts the daemon. */
async function chooseFile(): Promise<void> {
  const files = await vscode.window.showOpenDialog({
    title: 'Choose a model file',
    openLabel: 'Use This Model',
    canSelectMany: false,
    filters: { GGUF: ['gguf'] },
  });
  const file = files?.[0];
  if (file !== undefined) {
    await setModel(file.fsPath);
  }
}

/** The change restarts the daemon. */
async function setModel(path: string | undefined): Promise<void> {
  await vscode.workspace.getConfiguration('botframework').update('model', path, vscode.ConfigurationTarget.Global);
}

async function openFolder(folder: string): Promise<void> {
  const uri = vscode.Uri.file(folder);
  await vscode.workspace.fs.createDirectory(uri);
  if (vscode.env.remoteName === undefined && vscode.env.uiKind === vscode.UIKind.Desktop) {
    await vscode.env.openExternal(uri);
  } else {
    // The folder is on another machine than the screen.
    void vscode.window.showInformationMessage(
      `Put .gguf files into ${folder} on the machine where this window's files are.`,
    );
  }
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
