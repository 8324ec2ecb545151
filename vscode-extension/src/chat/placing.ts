/** What happens to a piece of code of an answer: into the clipboard, into the editor, or up for review. */
import * as vscode from 'vscode';

import type { Reviews } from '../edit/reviews.ts';
import { indentedLike } from '../edit/indentation.ts';
import { insertText } from '../edit/applying.ts';
import { splitLines } from '../edit/lines.ts';

/** Each gives why it could not be done, in a sentence with the next step; undefined if it was. */
export async function copyCode(text: string): Promise<string | undefined> {
  await vscode.env.clipboard.writeText(text);
  return undefined;
}

export async function insertAtCursor(text: string): Promise<string | undefined> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) {
    return 'Open a file and put the cursor where the code should go.';
  }
  return insertText(editor, text);
}

export async function applyToSelection(reviews: Reviews, text: string): Promise<string | undefined> {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined || editor.selection.isEmpty) {
    return 'Select the code in the editor that this should replace.';
  }
  const { document, selection } = editor;
  const old = document.getText(selection);
  const lead = document.lineAt(selection.start.line).text.slice(0, selection.start.character);
  const lineEnd = document.eol === vscode.EndOfLine.CRLF ? '\r\n' : '\n';
  const fitted = splitLines(indentedLike(old, lead, text)).join(lineEnd);
  return reviews.propose({ document, range: selection, text: fitted });
}
