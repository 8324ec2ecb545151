/** Commands about the daemon as a whole: model, restart, log, settings, sessions. */
import * as vscode from 'vscode';

import type { Session } from './daemon/session.ts';
import { selectModel } from './models/pick.ts';
import type { SettingsWatch } from './settingsWatch.ts';

export function registerControl(
  session: Session,
  channel: vscode.LogOutputChannel,
  watch: SettingsWatch,
): vscode.Disposable[] {
  const register = vscode.commands.registerCommand.bind(vscode.commands);
  return [
    register('botframework.selectModel', () => selectModel(session, watch)),
    register('botframework.restart', () => session.restart()),
    register('botframework.showLog', () => {
      channel.show();
    }),
    register('botframework.openSettings', () =>
      vscode.commands.executeCommand('workbench.action.openSettings', '@ext:botframework.botframework'),
    ),
    register('botframework.clearSessions', () => clearSessions(session)),
  ];
}

async function clearSessions(session: Session): Promise<void> {
  try {
    await session.request('botframework/sessions/clear', {});
    void vscode.window.showInformationMessage('What was read of this workspace is forgotten, on disk too.');
  } catch (error) {
    void vscode.window.showErrorMessage(`Nothing was cleared. ${error instanceof Error ? error.message : ''}`);
  }
}
