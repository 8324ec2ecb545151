/** Puts the editing together: the command and the review of what comes. */
import * as vscode from 'vscode';

import type { DaemonSession } from '../api.ts';
import { explain } from './failures.ts';
import { Reviews } from './reviews.ts';
import { editSelection } from './selection.ts';

/** Gives the reviews, which the chat uses as well. */
export function registerEdit(context: vscode.ExtensionContext, session: DaemonSession): Reviews {
  const reviews = new Reviews(explain);
  context.subscriptions.push(
    reviews,
    vscode.commands.registerCommand('botframework.editSelection', () =>
      editSelection(context.workspaceState, session, reviews),
    ),
  );
  return reviews;
}
