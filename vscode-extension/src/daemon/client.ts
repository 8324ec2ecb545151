/** The language client around one process: one client, one process, no restart of its own. */
import type { ChildProcess } from 'node:child_process';

import type { LogOutputChannel } from 'vscode';
import {
  CloseAction,
  ErrorAction,
  LanguageClient,
  RevealOutputChannelOn,
  type DocumentSelector,
  type Middleware,
} from 'vscode-languageclient/node';

export const DOCUMENTS: DocumentSelector = [
  { scheme: 'file' },
  { scheme: 'untitled' },
  { scheme: 'vscode-notebook-cell' },
];

/** Without pop-ups: the session tells what is wrong, once, and in words. */
class QuietClient extends LanguageClient {
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }

  override warn(message: string, data?: unknown): void {
    super.warn(message, data, false);
  }

  override info(message: string, data?: unknown): void {
    super.info(message, data, false);
  }
}

export function createClient(
  child: ChildProcess,
  channel: LogOutputChannel,
  initializationOptions: object,
  middleware: Middleware,
): LanguageClient {
  // Its standard error has a reader already.
  const transport = () => Promise.resolve({ process: child, detached: true });
  return new QuietClient('botframework', 'botframework', transport, {
    documentSelector: DOCUMENTS,
    initializationOptions,
    middleware,
    outputChannel: channel,
    stdioOptions: { stdout: () => undefined, stderr: () => undefined },
    revealOutputChannelOn: RevealOutputChannelOn.Never,
    initializationFailedHandler: () => false,
    errorHandler: {
      error: () => ({ action: ErrorAction.Continue, handled: true }),
      closed: () => ({ action: CloseAction.DoNotRestart, handled: true }),
    },
  });
}
