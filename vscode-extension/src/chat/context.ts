/** The context of the next question: what the user added, and what the editor has to offer. */
import * as vscode from 'vscode';

import type { Attachment } from './conversation.ts';
import type { Chip } from './messages.ts';
import { MAX_ATTACHMENTS, cutToLimit, rangeLabel } from './prompt.ts';

/** What could be added now; empty texts: nothing. */
export interface Offers {
  readonly selection: string;
  readonly file: string;
}

export class Context implements vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #subscriptions: vscode.Disposable;
  #attachments: readonly Attachment[] = [];

  /** The chips or the offers have changed. */
  readonly onDidChange = this.#changed.event;

  constructor() {
    const fire = (): void => {
      this.#changed.fire();
    };
    this.#subscriptions = vscode.Disposable.from(
      this.#changed,
      vscode.window.onDidChangeActiveTextEditor(fire),
      vscode.window.onDidChangeTextEditorSelection(({ textEditor }) => {
        if (textEditor === vscode.window.activeTextEditor) {
          fire();
        }
      }),
    );
  }

  dispose(): void {
    this.#subscriptions.dispose();
  }

  get chips(): readonly Chip[] {
    return this.#attachments.map((attachment) => ({
      id: keyOf(attachment),
      label: attachment.label,
      detail: attachment.isCut ? 'only its beginning' : '',
    }));
  }

  get offers(): Offers {
    const editor = vscode.window.activeTextEditor;
    if (editor === undefined) {
      return { selection: '', file: '' };
    }
    const { document, selection } = editor;
    const uri = document.uri.toString();
    const name = nameOf(document.uri);
    const part = selection.isEmpty ? '' : labelOf(name, selection);
    const isThere = (label: string): boolean => this.#attachments.some((one) => one.uri === uri && one.label === label);
    return { selection: isThere(part) ? '' : part, file: isThere(name) ? '' : name };
  }

  /** Add what is selected. Gives why it could not; undefined if it could. */
  addSelection(): string | undefined {
    const editor = vscode.window.activeTextEditor;
    if (editor === undefined || editor.selection.isEmpty) {
      return 'Select something in an editor first.';
    }
    const { document, selection } = editor;
    return this.#add(document, labelOf(nameOf(document.uri), selection), selection);
  }

  /** Add the whole file of the active editor. Gives why it could not; undefined if it could. */
  addFile(): string | undefined {
    const editor = vscode.window.activeTextEditor;
    if (editor === undefined) {
      return 'Open a file in an editor first.';
    }
    return this.#add(editor.document, nameOf(editor.document.uri), undefined);
  }

  remove(chip: string): void {
    this.#set(this.#attachments.filter((attachment) => keyOf(attachment) !== chip));
  }

  /** What goes with the question that is sent now; files as they are at this moment. The chips are gone afterwards. */
  take(): readonly Attachment[] {
    const taken = this.#attachments.map((attachment) => {
      const document = vscode.workspace.textDocuments.find(({ uri }) => uri.toString() === attachment.uri);
      return attachment.isWholeFile && document !== undefined
        ? { ...attachment, ...cutToLimit(document.getText()) }
        : attachment;
    });
    this.#set([]);
    return taken;
  }

  #add(document: vscode.TextDocument, label: string, range: vscode.Range | undefined): string | undefined {
    const attachment: Attachment = {
      uri: document.uri.toString(),
      label,
      languageId: document.languageId,
      ...cutToLimit(document.getText(range)),
      isWholeFile: range === undefined,
    };
    const others = this.#attachments.filter((other) => keyOf(other) !== keyOf(attachment));
    if (others.length >= MAX_ATTACHMENTS) {
      return `A message takes ${String(MAX_ATTACHMENTS)} pieces of context. Remove one first.`;
    }
    this.#set([...others, attachment]);
    return undefined;
  }

  #set(attachments: readonly Attachment[]): void {
    this.#attachments = attachments;
    this.#changed.fire();
  }
}

/** What makes two of them the same: adding one again replaces it. */
function keyOf({ uri, label }: Attachment): string {
  return `${label} ${uri}`;
}

/** A file's name without its folders. */
function nameOf(uri: vscode.Uri): string {
  return uri.path.split('/').at(-1) ?? uri.path;
}

function labelOf(name: string, { start, end }: vscode.Range): string {
  // A selection of whole lines ends at the beginning of the next one, which is not part of it.
  const last = end.character === 0 && end.line > start.line ? end.line - 1 : end.line;
  return rangeLabel(name, start.line + 1, last + 1);
}
