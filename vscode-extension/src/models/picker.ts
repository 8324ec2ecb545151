/** The list of models while it is open; it fills as the daemon answers. */
import * as vscode from 'vscode';

import { DaemonError } from '../api.ts';
import type { Session } from '../daemon/session.ts';
import type { ModelsResult } from '../protocol.ts';
import { choices, type Choice, type Recommended } from './choices.ts';
import { SERVED_ROLES } from './roles.ts';
import { machineWords } from './suggestions.ts';

/** Milliseconds that the list waits for what is recommended; the first look at a machine takes a second or two. */
const PATIENCE_MS = 3_000;

/** A row, and the button on it if that was what was clicked. */
export interface Picked {
  readonly choice: Choice;
  readonly button: vscode.QuickInputButton | undefined;
}

/** @returns undefined: nothing was chosen */
export async function pickModel(session: Session, listed: ModelsResult): Promise<Picked | undefined> {
  const closed = new vscode.CancellationTokenSource();
  const serving = session.snapshot?.models ?? [];
  const quickPick = vscode.window.createQuickPick<Choice>();
  quickPick.title = 'Select model';
  quickPick.placeholder = listed.hasMore
    ? `The folder holds more files than are listed: ${listed.folder}`
    : 'Load a model, or download one';
  quickPick.matchOnDescription = true;
  quickPick.matchOnDetail = true;
  quickPick.keepScrollPosition = true;
  quickPick.busy = true;
  const fill = (recommended: Recommended): void => {
    const active = quickPick.activeItems.map(({ label }) => label);
    quickPick.items = choices(listed, recommended, serving);
    quickPick.activeItems = quickPick.items.filter(({ label }) => active.includes(label)).slice(0, 1);
  };
  // Rows that are replaced under the mouse take the click away, so they come late rather than twice.
  const late = setTimeout(() => {
    fill(undefined);
  }, PATIENCE_MS);
  void recommendation(session, closed.token).then((recommended) => {
    if (!closed.token.isCancellationRequested) {
      clearTimeout(late);
      fill(recommended);
      quickPick.busy = false;
      if (typeof recommended === 'object') {
        quickPick.title = `Select model: ${machineWords(recommended.hardware)}`;
      }
    }
  });
  try {
    return await new Promise<Picked | undefined>((resolve) => {
      quickPick.onDidAccept(() => {
        const [choice] = quickPick.selectedItems;
        if (choice !== undefined && canBeChosen(choice)) {
          resolve({ choice, button: undefined });
        }
      });
      quickPick.onDidTriggerItemButton(({ item, button }) => {
        resolve({ choice: item, button });
      });
      quickPick.onDidHide(() => {
        resolve(undefined);
      });
      quickPick.show();
    });
  } finally {
    clearTimeout(late);
    closed.cancel();
    closed.dispose();
    quickPick.dispose();
  }
}

function canBeChosen({ entry, suggestion, action }: Choice): boolean {
  return entry !== undefined || suggestion !== undefined || action !== undefined;
}

async function recommendation(session: Session, token: vscode.CancellationToken): Promise<Recommended> {
  try {
    return await session.request('botframework/models/recommend', { roles: [...SERVED_ROLES] }, token);
  } catch (error) {
    if (error instanceof DaemonError && error.kind === 'MethodNotFound') {
      return undefined; // An older daemon has no catalog.
    }
    return error instanceof Error ? error.message : String(error);
  }
}
