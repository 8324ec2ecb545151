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

const REFERENCE: Choice = {
  label: '$(link) Download another…',
  description: 'hf:owner/repository:Q4_K_M',
  action: 'reference',
};
const TRUST: Choice = { label: '$(shield) Trust this workspace to download a model…', action: 'trust' };

/** What a model shall do when this button was clicked on its row; empty: everything. */
export function rolesOf(button: vscode.QuickInputButton | undefined): readonly ServedRole[] {
  return button === FOR_GHOST_TEXT ? ['fim'] : button === FOR_CHAT ? ['chat'] : [];
}

/** What the daemon recommends; a text says why it does not; undefined: it has not answered. */
export type Recommended = Advice | string | undefined;

/** @param serving - the present models by their roles */
export function choices(listed: ModelsResult, recommended: Recommended, serving: readonly RoleModel[]): Choice[] {
  const trusted = vscode.workspace.isTrusted;
  const best = typeof recommended === 'object' ? suggestions(recommended.recommendations) : [];
  const installed = new Set(best.map(({ recommendation }) => recommendation.installedPath));
  return [
    separator('Installed'),
    ...listed.models.map((entry) => ({
      ...modelLine(entry, installed.has(entry.path), servedRoles(entry, serving)),
      entry,
      buttons: trusted ? buttons(entry) : [],
    })),
    ...titled('Recommended for this machine', typeof recommended === 'string' ? [none(recommended)] : offers(best)),
    separator('Other'),
    { label: '$(folder-opened) Choose a file…', description: '.gguf', action: 'file' },
    ...(trusted ? [REFERENCE] : []),
    { label: '$(folder) Open the models folder', description: listed.folder, action: 'folder' },
  ];
}

function buttons(entry: ModelEntry): vscode.QuickInputButton[] {
  const roles = entry.canInfill === false ? [FOR_CHAT] : [FOR_GHOST_TEXT, FOR_CHAT];
  return [...(entry.problem === null ? roles : []), ...(entry.source === 'pulled' && !entry.loaded ? [DELETE] : [])];
}

/** What is recommended and not there yet. */
function offers(best: readonly Suggestion[]): Choice[] {
  const found = best.filter(({ recommendation }) => recommendation.installedPath === null);
  return vscode.workspace.isTrusted || found.length === 0
    ? found.map((suggestion) => ({ ...suggestionLine(suggestion), suggestion, buttons: [WHY] }))
    : [TRUST];
}

function none(why: string): Choice {
  return { label: '$(warning) Nothing', description: why };
}

function titled(title: string, rows: readonly Choice[]): Choice[] {
  return rows.length === 0 ? [] : [separator(title), ...rows];
}

function separator(label: string): Choice {
  return { label, kind: vscode.QuickPickItemKind.Separator };
}
