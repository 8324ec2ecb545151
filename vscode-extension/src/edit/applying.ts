/** Changing a document on behalf of the user: in one step of undo, or not at all and with a reason. */
import { stat } from 'node:fs/promises';

import * as vscode from 'vscode';

/** Permission to write, for anybody. */
const WRITE_BITS = 0o222;

/** Put text at the cursor. Gives why it could not; undefined if it could. */
export async function insertText(editor: vscode.TextEditor, text: string): Promise<string | undefined> {
  const reason = await whyNotWritable(editor.document);
  if (reason !== undefined) {
    return reason;
  }
  const done = await changed(editor, (edit) => {
    edit.insert(editor.selection.active, text);
  });
  return done ? undefined : refused(editor.document);
}

/** Put text in the place of a part of a document. Gives why it could not; undefined if it could. */
export async function replaceText(
  document: vscode.TextDocument,
  range: vscode.Range,
  text: string,
  column?: vscode.ViewColumn,
): Promise<string | undefined> {
  const reason = await whyNotWritable(document);
  if (reason !== undefined) {
    return reason;
  }
  if (document.uri.scheme === 'vscode-notebook-cell') {
    // A cell has no text editor of its own that could be asked for.
    const edit = new vscode.WorkspaceEdit();
    edit.replace(document.uri, range, text);
    return (await vscode.workspace.applyEdit(edit)) ? undefined : refused(document);
  }
  const options = column === undefined ? {} : { viewColumn: column };
  const editor = await vscode.window.showTextDocument(document, { ...options, preview: false });
  const done = await changed(editor, (edit) => {
    edit.replace(range, text);
  });
  if (!done) {
    return refused(document);
  }
  editor.selection = new vscode.Selection(range.start, range.start);
  editor.revealRange(new vscode.Range(range.start, range.start), vscode.TextEditorRevealType.InCenterIfOutsideViewport);
  return undefined;
}

/** Why nobody may change the document; undefined if it seems that one may. */
export async function whyNotWritable(document: vscode.TextDocument): Promise<string | undefined> {
  const { uri } = document;
  const name = uri.path.split('/').at(-1) ?? uri.path;
  if (vscode.workspace.fs.isWritableFileSystem(uri.scheme) === false) {
    return `${name} is read-only here. Nothing was changed; copy it into a file of your own to change it.`;
  }
  if (uri.scheme === 'file' && (await isWriteProtected(uri.fsPath))) {
    return `${name} is read-only. Nothing was changed; make the file writable first.`;
  }
  return undefined;
}

async function isWriteProtected(path: string): Promise<boolean> {
  try {
    return ((await stat(path)).mode & WRITE_BITS) === 0;
  } catch {
    // It may be gone from the disk, and still be open in the editor, which is what counts.
    return false;
  }
}

/** Whether the edit was made: an editor that is read-only by a setting says yes and does nothing. */
async function changed(editor: vscode.TextEditor, edit: (builder: vscode.TextEditorEdit) => void): Promise<boolean> {
  const { version } = editor.document;
  const wasTaken = await editor.edit(edit);
  return wasTaken && editor.document.version > version;
}

function refused(document: vscode.TextDocument): string {
  const name = document.uri.path.split('/').at(-1) ?? document.uri.path;
  return `The editor did not take the change: ${name} is read-only, or was changed at the same moment. Nothing was changed.`;
}
