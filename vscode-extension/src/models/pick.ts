/** "Select Model": what is there, what is recommended, or a file; then load it and remember the choice. */
import * as vscode from 'vscode';

import { DaemonError } from '../api.ts';
import type { Session } from '../daemon/session.ts';
import type { ModelEntry, ModelsResult } from '../protocol.ts';
import type { SettingsWatch } from '../settingsWatch.ts';
import { bytes } from '../status/tooltip.ts';
import { DELETE, rolesOf, WHY, type Action } from './choices.ts';
import { askForReference, download } from './download.ts';
import { pickModel, type Picked } from './picker.ts';
import type { ServedRole } from './roles.ts';
import { explanation, type Suggestion } from './suggestions.ts';
import { withBar } from './work.ts';

const DOWNLOAD = 'Download';
const DELETE_IT = 'Delete';

export async function selectModel(session: Session, watch: SettingsWatch): Promise<void> {
  const listed = await list(session);
  if (listed === undefined) {
    await chooseFile(watch);
  } else if (listed !== 'failed') {
    await choose(session, listed, watch);
  }
}

async function choose(session: Session, listed: ModelsResult, watch: SettingsWatch): Promise<void> {
  const picked = await pickModel(session, listed);
  if (picked !== undefined) {
    await carryOut(session, picked, listed, watch);
  }
}

/** @returns undefined: there is no daemon that could list any */
async function list(session: Session): Promise<ModelsResult | 'failed' | undefined> {
  if (session.state === 'failed' || session.state === 'stopped') {
    return undefined;
  }
  try {
    return await session.request('botframework/models/list', {});
  } catch (error) {
    if (error instanceof DaemonError && error.kind === 'MethodNotFound') {
      return undefined;
    }
    void vscode.window.showErrorMessage(`The models cannot be listed. ${text(error)}`);
    return 'failed';
  }
}

async function carryOut(
  session: Session,
  { choice, button }: Picked,
  listed: ModelsResult,
  watch: SettingsWatch,
): Promise<void> {
  const { entry, suggestion, action } = choice;
  if (entry !== undefined) {
    await (button === DELETE ? remove(session, entry, listed, watch) : use(session, entry, rolesOf(button), watch));
  } else if (suggestion !== undefined) {
    if (button !== WHY || (await isWantedAllTheSame(suggestion))) {
      const { reference, name } = suggestion.recommendation;
      await downloadAndUse(session, reference, name, suggestion.roles, watch);
    }
  } else if (action !== undefined) {
    await act(session, action, listed.folder, watch);
  }
}

async function act(session: Session, action: Action, folder: string, watch: SettingsWatch): Promise<void> {
  switch (action) {
    case 'file':
      return chooseFile(watch);
    case 'folder':
      return openFolder(folder);
    case 'reference': {
      const reference = await askForReference();
      return reference === undefined ? undefined : downloadAndUse(session, reference, reference, [], watch);
    }
    case 'trust':
      await vscode.commands.executeCommand('workbench.trust.manage');
  }
}

async function use(
  session: Session,
  entry: ModelEntry,
  roles: readonly ServedRole[],
  watch: SettingsWatch,
): Promise<void> {
  if (vscode.workspace.isTrusted) {
    await load(session, entry, roles, watch);
  } else {
    // Here the daemon exchanges nothing while it runs; what the user sets for the machine counts all the same.
    await watch.startWithModel(entry, roles);
  }
}

async function load(
  session: Session,
  entry: ModelEntry,
  roles: readonly ServedRole[],
  watch: SettingsWatch,
): Promise<void> {
  try {
    const params = { path: entry.path, roles: [...roles] };
    await withBar(session, `Loading ${entry.name}`, 'botframework/models/load', params);
  } catch (error) {
    if (!(error instanceof DaemonError && error.isCancelled)) {
      const again = 'Select Another';
      const answer = await vscode.window.showErrorMessage(`${entry.name} cannot be used. ${text(error)}`, again);
      if (answer === again) {
        await selectModel(session, watch);
      }
    }
    return;
  }
  await watch.rememberModel(entry, roles);
}

async function downloadAndUse(
  session: Session,
  reference: string,
  name: string,
  roles: readonly ServedRole[],
  watch: SettingsWatch,
): Promise<void> {
  const downloaded = await download(session, reference, name, roles);
  if (downloaded !== undefined) {
    await use(session, downloaded.model, downloaded.roles, watch);
  }
}

async function isWantedAllTheSame(suggestion: Suggestion): Promise<boolean> {
  const { name, quantization } = suggestion.recommendation;
  const title = `Why ${name}, ${quantization}?`;
  const detail = explanation(suggestion);
  return (await vscode.window.showInformationMessage(title, { modal: true, detail }, DOWNLOAD)) === DOWNLOAD;
}

async function remove(session: Session, entry: ModelEntry, listed: ModelsResult, watch: SettingsWatch): Promise<void> {
  const title = `Delete ${entry.name}?`;
  const detail = `${bytes(entry.sizeBytes)} in ${entry.path}. It can be downloaded again.`;
  let left = listed;
  if ((await vscode.window.showWarningMessage(title, { modal: true, detail }, DELETE_IT)) === DELETE_IT) {
    try {
      left = await session.request('botframework/models/remove', { path: entry.path });
    } catch (error) {
      void vscode.window.showErrorMessage(`${entry.name} was not deleted. ${text(error)}`);
      return;
    }
  }
  await choose(session, left, watch);
}

/** For a file outside the models folder, and when no daemon can list any. */
async function chooseFile(watch: SettingsWatch): Promise<void> {
  const files = await vscode.window.showOpenDialog({
    title: 'Choose a model file',
    openLabel: 'Use This Model',
    canSelectMany: false,
    filters: { GGUF: ['gguf'] },
  });
  const file = files?.[0];
  if (file !== undefined) {
    await watch.startWithModel({ path: file.fsPath, embedded: false }, []);
  }
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
