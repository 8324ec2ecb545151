/** Wires the parts together. */
import * as vscode from 'vscode';

import type { Api } from './api.ts';
import { registerChat } from './chat/register.ts';
import { completionMiddleware, registerCompletion, type Wishes } from './completion/commands.ts';
import { Pause } from './completion/pause.ts';
import { Settings } from './configuration.ts';
import { registerControl } from './control.ts';
import { locate } from './daemon/locate.ts';
import { Report } from './daemon/report.ts';
import { Session } from './daemon/session.ts';
import { registerEdit } from './edit/register.ts';
import { behaviour, enablement, isCompletionEnabled, startOptions } from './settings.ts';
import { watchSettings } from './settingsWatch.ts';
import { registerStatus } from './status/bar.ts';

let running: Session | undefined;

export function activate(context: vscode.ExtensionContext): Api {
  const channel = vscode.window.createOutputChannel('botframework', { log: true });
  const settings = new Settings(context.extension);
  const cwd = context.extensionPath;
  const session = new Session({
    channel,
    cwd,
    locate: () => locate(context.extensionPath, settings.all, cwd),
    initializationOptions: () => startOptions(settings.all, vscode.workspace.isTrusted),
    middleware: {
      ...completionMiddleware(() => wishes),
      // The status bar shows the loading of a model.
      handleWorkDoneProgress: () => undefined,
      workspace: {
        configuration: ({ items }) => items.map(() => behaviour(settings.all, vscode.workspace.isTrusted)),
      },
    },
  });
  running = session;
  const watch = watchSettings(session, settings);
  const wishes: Wishes = {
    pause: new Pause(session),
    enabled: () => enablement(settings.all, vscode.workspace.isTrusted),
    isCompletionEnabled: () => isCompletionEnabled(settings.all, vscode.workspace.isTrusted),
  };
  context.subscriptions.push(
    channel,
    settings,
    session,
    wishes.pause,
    new Report(session),
    watch,
    ...registerCompletion(session, wishes),
    ...registerStatus(session, wishes),
    ...registerControl(session, channel, watch),
  );
  registerChat(context, session, registerEdit(context, session));
  return { session, started: session.restart() };
}

/** VS Code waits a few seconds for it: the daemon and its worker go with the window. */
export async function deactivate(): Promise<void> {
  await running?.stop();
}
