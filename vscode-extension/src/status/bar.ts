/** The status bar item. */
import * as vscode from 'vscode';

import type { DaemonSession } from '../api.ts';
import { isOnFor, type Wishes } from '../completion/commands.ts';
import { minutesLeft } from '../completion/enablement.ts';
import { EVERY_LANGUAGE } from '../settings.ts';
import { menuEntries } from './menu.ts';
import { statusOf, type Status } from './state.ts';
import { tooltip } from './tooltip.ts';

const BACKGROUNDS: Readonly<Record<Status['colour'], string | undefined>> = {
  normal: undefined,
  warning: 'statusBarItem.warningBackground',
  error: 'statusBarItem.errorBackground',
};

export function registerStatus(session: DaemonSession, wishes: Wishes): vscode.Disposable[] {
  const item = vscode.window.createStatusBarItem('botframework.status', vscode.StatusBarAlignment.Right, 100);
  item.name = 'botframework';
  item.command = 'botframework.menu';
  const update = (): void => {
    show(item, now(session, wishes), session);
  };
  update();
  item.show();
  return [
    item,
    session.onDidChange(update),
    wishes.pause.onDidChange(update),
    vscode.window.onDidChangeActiveTextEditor(update),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration('botframework')) {
        update();
      }
    }),
    vscode.commands.registerCommand('botframework.menu', () => menu(session, wishes)),
  ];
}

function now(session: DaemonSession, wishes: Wishes): Status {
  const language = vscode.window.activeTextEditor?.document.languageId;
  return statusOf({
    state: session.state,
    failure: session.failure?.message,
    snapshot: session.snapshot,
    minutesLeft: minutesLeft(wishes.pause.until, Date.now()),
    isPaused: wishes.pause.isPaused,
    switchedOffFor: language !== undefined && !isOnFor(wishes, language) ? language : undefined,
  });
}

function show(item: vscode.StatusBarItem, status: Status, session: DaemonSession): void {
  item.text = status.text;
  item.accessibilityInformation = { label: `botframework: ${status.words}` };
  const background = BACKGROUNDS[status.colour];
  item.backgroundColor = background === undefined ? undefined : new vscode.ThemeColor(background);
  // Plain Markdown: no commands, no HTML, no icons, since names and messages in it are not ours.
  item.tooltip = new vscode.MarkdownString(tooltip(status.words, session.snapshot));
}

async function menu(session: DaemonSession, wishes: Wishes): Promise<void> {
  const status = now(session, wishes);
  const language = vscode.window.activeTextEditor?.document.languageId;
  const entries = menuEntries({
    status,
    isPaused: wishes.pause.isPaused || session.snapshot?.state === 'paused',
    isOn: isOnFor(wishes, EVERY_LANGUAGE),
    language,
    isOnForLanguage: language !== undefined && isOnFor(wishes, language),
  });
  const chosen = await vscode.window.showQuickPick(entries, { title: `botframework: ${status.words}` });
  if (chosen !== undefined) {
    await vscode.commands.executeCommand(chosen.command);
  }
}
