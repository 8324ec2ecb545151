/** Puts the chat together: view, conversations, context, answers, commands. */
import * as vscode from 'vscode';

import type { DaemonSession } from '../api.ts';
import type { Reviews } from '../edit/reviews.ts';
import { Chat } from './chat.ts';
import { VIEW_ID } from './view.ts';

export function registerChat(context: vscode.ExtensionContext, session: DaemonSession, reviews: Reviews): void {
  const chat = new Chat(context, session, reviews);
  const command = (name: string, run: () => unknown): vscode.Disposable =>
    vscode.commands.registerCommand(`botframework.chat.${name}`, run);
  context.subscriptions.push(
    chat,
    vscode.window.registerWebviewViewProvider(VIEW_ID, chat.view),
    command('new', () => chat.startNew()),
    command('stop', () => {
      chat.stop();
    }),
    command('addSelection', () => chat.addSelection()),
    command('history', () => chat.showHistory()),
  );
}
