/** Downloading a model: the bar, what went wrong, and the offer to load it. */
import * as vscode from 'vscode';

import { DaemonError } from '../api.ts';
import type { Session } from '../daemon/session.ts';
import type { ModelEntry } from '../protocol.ts';
import { downloadFailure } from './failures.ts';
import { ROLE_WORDS, type ServedRole } from './roles.ts';
import { withBar } from './work.ts';

const AGAIN = 'Try Again';
const OPEN_PAGE = 'Open Page';
const LOAD = 'Load It';

/** A model that is there now, and what the user wants it for; no roles: everything. */
export interface Downloaded {
  readonly model: ModelEntry;
  readonly roles: readonly ServedRole[];
}

/**
 * @param good - what the model is recommended for; empty: that is not known
 * @returns undefined: it did not come, or is not to be loaded
 */
export async function download(
  session: Session,
  reference: string,
  name: string,
  good: readonly ServedRole[],
): Promise<Downloaded | undefined> {
  const model = await downloaded(session, reference, name);
  if (model === undefined) {
    return undefined;
  }
  const [role, ...others] = good;
  const only = role === undefined || others.length > 0 ? undefined : `Load It for ${titled(ROLE_WORDS[role])}`;
  const ways = only === undefined ? [LOAD] : [only, LOAD];
  const answer = await vscode.window.showInformationMessage(`${name} is downloaded and verified.`, ...ways);
  if (answer === undefined) {
    return undefined;
  }
  return { model, roles: answer === LOAD ? [] : good };
}

function titled(words: string): string {
  return words.replaceAll(/\b(?!and\b)[a-z]/g, (letter) => letter.toUpperCase());
}

async function downloaded(session: Session, reference: string, name: string): Promise<ModelEntry | undefined> {
  for (;;) {
    try {
      return (await withBar(session, `Downloading ${name}`, 'botframework/models/pull', { reference })).model;
    } catch (error) {
      if (!(error instanceof DaemonError)) {
        throw error;
      }
      if (error.isCancelled || !(await isToBeTriedAgain(error, name))) {
        return undefined;
      }
    }
  }
}

async function isToBeTriedAgain(error: DaemonError, name: string): Promise<boolean> {
  const { message, canRetry, page } = downloadFailure(error);
  const ways = [...(canRetry || page !== undefined ? [AGAIN] : []), ...(page === undefined ? [] : [OPEN_PAGE])];
  const told = `${name} was not downloaded. ${message}`;
  let answer = await vscode.window.showErrorMessage(told, ...ways);
  while (answer === OPEN_PAGE && page !== undefined) {
    await vscode.env.openExternal(vscode.Uri.parse(page, true));
    answer = await vscode.window.showErrorMessage(told, ...ways);
  }
  return answer === AGAIN;
}

/** For what the catalog does not have. */
export async function askForReference(): Promise<string | undefined> {
  const reference = await vscode.window.showInputBox({
    title: 'Download a model',
    prompt: 'hf:owner/repository:Q4_K_M, hf:owner/repository/file.gguf, or the https address of a GGUF file',
    placeHolder: 'hf:Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF:Q4_K_M',
    ignoreFocusOut: true,
  });
  const trimmed = reference?.trim();
  return trimmed === '' ? undefined : trimmed;
}
