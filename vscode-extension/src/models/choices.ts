/** The rows of the model picker: what is there, what is recommended, and what else can be done. */
import * as vscode from 'vscode';

import type { Advice, ModelEntry, ModelsResult, RoleModel } from '../protocol.ts';
import { modelLine } from './entries.ts';
import { servedRoles, type ServedRole } from './roles.ts';
import { suggestionLine, suggestions, type Suggestion } from './suggestions.ts';

export type Action = 'file' | 'folder' | 'reference' | 'trust';

export interface Choice extends vscode.QuickPickItem {
  readonly entry?: ModelEntry;
  readonly suggestion?: Suggestion;
  readonly action?: Action;
}

export const DELETE: vscode.QuickInputButton = { iconPath: new vscode.ThemeIcon('trash'), tooltip: 'Delete the file' };
export const WHY: vscode.QuickInputButton = { iconPath: new vscode.ThemeIcon('info'), tooltip: 'Why this one?' };

const FOR_GHOST_TEXT: vscode.QuickInputButton = {
  iconPath: new vscode.ThemeIcon('sparkle'),
  tooltip: 'Use for ghost text only',
};
const FOR_CHAT: vscode.QuickInputButton = {
  iconPath: new vscode.ThemeIcon('comment-discussion'),
  tooltip: 'Use for chat and edits only',
};

/** What a model shall do when this button was clicked on its row; empty: everything. */
export function rolesOf(button: vscode.QuickInputButton | undefined): readonly ServedRole[] {
  return button === FOR_GHOST_TEXT ? ['fim'] : button === FOR_CHAT ? ['chat'] : [];
}

/** What the daemon recommends; a text says why it does not; undefined: it has not answered. */
export type Recommended = Advice | string | undefined;

/** @param serving - the present models by their roles */
export function choices(listed: ModelsResult, recommended: Recommended, serving: readonly RoleModel[]): Choice[] {
  const best = typeof recommended === 'object' ? suggestions(recommended.recommendations) : [];
  const installed = new Set(best.map(({ recommendation }) => recommendation.installedPath));
  return [
    separator('Installed'),
    ...listed.models.map((entry) => ({
      ...modelLine(entry, installed.has(entry.path), servedRoles(entry, serving)),
      entry,
      buttons: vscode.workspace.isTrusted ? buttons(entry) : [],
    })),
    ...recommendedRows(recommended, best),
    separator('Other'),
    { label: '$(folder-opened) Choose a file…', description: '.gguf', action: 'file' },
    ...(vscode.workspace.isTrusted
      ? [
          {
            label: '$(link) Download another…',
            description: 'hf:owner/repository:Q4_K_M',
            action: 'reference',
          } as const,
        ]
      : []),
    { label: '$(folder) Open the models folder', description: listed.folder, action: 'folder' },
  ];
}

function buttons(entry: ModelEntry): vscode.QuickInputButton[] {
  return [
    ...(entry.problem === null && entry.canInfill !== false ? [FOR_GHOST_TEXT] : []),
    ...(entry.problem === null ? [FOR_CHAT] : []),
    ...(entry.source === 'pulled' && !entry.loaded ? [DELETE] : []),
  ];
}

function recommendedRows(recommended: Recommended, best: readonly Suggestion[]): Choice[] {
  if (recommended === undefined) {
    return [];
  }
  if (typeof recommended === 'string') {
    return [separator('Recommended for this machine'), { label: '$(warning) Nothing', description: recommended }];
  }
  const found = best.filter(({ recommendation }) => recommendation.installedPath === null);
  if (found.length === 0) {
    return [];
  }
  const title = separator('Recommended for this machine');
  return vscode.workspace.isTrusted
    ? [title, ...found.map((suggestion) => ({ ...suggestionLine(suggestion), suggestion, buttons: [WHY] }))]
    : [title, { label: '$(shield) Trust this workspace to download a model…', action: 'trust' }];
}

function separator(label: string): Choice {
  return { label, kind: vscode.QuickPickItemKind.Separator };
}
