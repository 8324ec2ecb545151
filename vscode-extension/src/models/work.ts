/** What takes long and can be stopped: loading and downloading, as a notification with a bar. */
import * as vscode from 'vscode';

import type { ParamsOf, ResultOf, WorkMethod } from '../api.ts';
import type { Session } from '../daemon/session.ts';

/** @throws DaemonError */
export async function withBar<M extends WorkMethod>(
  session: Session,
  title: string,
  method: M,
  params: ParamsOf<M>,
): Promise<ResultOf<M>> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    (progress, token) => {
      let reached = 0;
      return session.work(method, params, token, ({ percentage, message }) => {
        const increment = Math.max(0, (percentage ?? reached) - reached);
        reached += increment;
        progress.report({ increment, ...(message === undefined ? {} : { message }) });
      });
    },
  );
}
