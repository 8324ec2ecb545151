/** The command Edit Selection: what is to be changed, what the user wants, and the daemon's answer under review. */
import * as vscode from 'vscode';

import type { DaemonSession } from '../api.ts';
import type { EditResult } from '../protocol.ts';
import { whyNotWritable } from './applying.ts';
import { REVIEW_SCHEME } from './documents.ts';
import { askInstruction } from './instruction.ts';
import type { Reviews, Writer } from './reviews.ts';

export async function editSelection(storage: vscode.Memento, session: DaemonSession, reviews: Reviews): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined || editor.document.uri.scheme === REVIEW_SCHEME) {
    void vscode.window.showInformationMessage('Put the cursor into the code that should be changed, or select it.');
    return;
  }
  const { document } = editor;
  // Before anybody thinks of words for what cannot be done.
  const reason = await whyNotWritable(document);
  if (reason !== undefined) {
    void vscode.window.showWarningMessage(reason);
    return;
  }
  const range = wholeLines(document, editor.selection);
  const { version } = document;
  const instruction = await askInstruction(storage, describe(range));
  if (instruction === undefined) {
    return;
  }
  if (document.version !== version) {
    void vscode.window.showWarningMessage(
      'The file was changed while you wrote the instruction. Select the code again.',
    );
    return;
  }
  const problem = await reviews.write({ document, range }, asking(session, instruction));
  if (problem !== undefined) {
    void vscode.window.showWarningMessage(problem);
  }
}

/** A writer that asks the daemon. */
function asking(session: DaemonSession, instruction: string): Writer {
  return async ({ document, range }, onText, token) => {
    const result = await session.stream(
      'botframework/edit',
      {
        textDocument: { uri: document.uri.toString() },
        range: { start: plain(range.start), end: plain(range.end) },
        instruction,
        version: document.version,
      },
      onText,
      token,
    );
    return noteOf(result);
  };
}

/** The lines that a selection touches; the line of the cursor if nothing is selected, of which nothing if it is blank. */
function wholeLines(document: vscode.TextDocument, selection: vscode.Selection): vscode.Range {
  const { start, end } = selection;
  if (selection.isEmpty && document.lineAt(start.line).isEmptyOrWhitespace) {
    return new vscode.Range(start, start);
  }
  // A selection that ends at the beginning of a line does not touch it.
  const last = end.character === 0 && end.line > start.line ? end.line - 1 : end.line;
  return new vscode.Range(start.line, 0, last, document.lineAt(last).text.length);
}

function describe({ start, end }: vscode.Range): string {
  return start.line === end.line
    ? `line ${String(start.line + 1)}`
    : `lines ${String(start.line + 1)} to ${String(end.line + 1)}`;
}

function plain({ line, character }: vscode.Position): { line: number; character: number } {
  return { line, character };
}

function noteOf({ finishReason }: EditResult): string {
  if (finishReason === 'length') {
    return 'cut at its limit of tokens (botframework.edit.maxTokens)';
  }
  return finishReason === 'deadline' ? 'cut at its limit of time (botframework.edit.deadlineMs)' : '';
}
