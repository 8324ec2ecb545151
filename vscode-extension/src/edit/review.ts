/** One edit that waits for the user: what it would replace, what by, and where that is by now. */
import * as vscode from 'vscode';

import { REVIEW_SCHEME } from './documents.ts';
import type { Line } from './lines.ts';
import { countChanges, freshLines } from './lines.ts';
import { Proposal } from './proposal.ts';
import type { Span } from './span.ts';
import { moved } from './span.ts';

/**
 * - `writing`: the new text is still coming
 * - `ready`: it can be accepted
 * - `failed`: it did not come to its end; {@link Review.problem} says why
 */
export type ReviewState = 'writing' | 'ready' | 'failed';

export class Review {
  /** The document that shows it, and the one that shows the file as it would be. */
  readonly uri: vscode.Uri;
  readonly afterUri: vscode.Uri;
  readonly targetUri: vscode.Uri;
  readonly languageId: string;
  /** Where the file was shown when the review began. */
  readonly column: vscode.ViewColumn | undefined;
  /** As in `main.py`. */
  readonly name: string;
  state: ReviewState = 'writing';
  problem = '';
  note = '';
  #document: vscode.TextDocument;
  #span: Span;
  #proposal: Proposal;

  constructor(id: number, document: vscode.TextDocument, range: vscode.Range, column: vscode.ViewColumn | undefined) {
    this.#document = document;
    this.#span = { start: document.offsetAt(range.start), end: document.offsetAt(range.end) };
    this.#proposal = this.#propose();
    this.targetUri = document.uri;
    this.languageId = document.languageId;
    this.column = column;
    this.name = document.uri.path.split('/').at(-1) ?? document.uri.path;
    this.uri = vscode.Uri.from({ scheme: REVIEW_SCHEME, path: `/${String(id)}/Edit of ${this.name}` });
    this.afterUri = vscode.Uri.from({ scheme: REVIEW_SCHEME, path: `/${String(id)}/after/${this.name}` });
  }

  get document(): vscode.TextDocument {
    return this.#document;
  }

  get range(): vscode.Range {
    return new vscode.Range(this.#document.positionAt(this.#span.start), this.#document.positionAt(this.#span.end));
  }

  /** The first line that the edit touches, in the file and in the review. */
  get firstLine(): number {
    return this.range.start.line;
  }

  get text(): string {
    return this.#proposal.text;
  }

  get changesNothing(): boolean {
    return this.#proposal.changesNothing;
  }

  /** Whether the file still has at its place what the new text was made for, and the same beside it on its lines. */
  get isCurrent(): boolean {
    const { old, head, tail } = this.#proposal;
    const now = this.#propose();
    return now.old === old && now.head === head && now.tail === tail;
  }

  get lines(): readonly Line[] {
    return this.#proposal.lines();
  }

  get counts(): ReturnType<typeof countChanges> {
    return countChanges(this.lines);
  }

  append(text: string): void {
    this.#proposal.append(text);
  }

  finish(note: string): void {
    this.#proposal.finish();
    this.state = 'ready';
    this.note = note;
  }

  fail(problem: string): void {
    this.state = 'failed';
    this.problem = problem;
  }

  /** Begin once more, with the text that is there now. */
  startAgain(): void {
    this.#proposal = this.#propose();
    this.state = 'writing';
    this.problem = '';
    this.note = '';
  }

  /** The file has changed. */
  follow(event: vscode.TextDocumentChangeEvent): void {
    this.#span = moved(this.#span, event.contentChanges);
  }

  /** The file was closed and opened again. */
  adopt(document: vscode.TextDocument): void {
    this.#document = document;
  }

  /** The whole file with the old and the new lines in it. */
  get shown(): string {
    return this.#around(this.lines.map(({ text }) => text));
  }

  /** The whole file as it would be. */
  get after(): string {
    return this.#around(freshLines(this.lines));
  }

  #around(lines: readonly string[]): string {
    const lineEnd = this.#document.eol === vscode.EndOfLine.CRLF ? '\r\n' : '\n';
    const { start, end } = this.range;
    const before = this.#document.getText(new vscode.Range(0, 0, start.line, 0));
    const behind = this.#document.lineAt(end.line).range.end;
    const after = this.#document.getText(
      new vscode.Range(behind, this.#document.lineAt(this.#document.lineCount - 1).range.end),
    );
    return before + lines.join(lineEnd) + after;
  }

  #propose(): Proposal {
    const { start, end } = this.range;
    const head = this.#document.lineAt(start.line).text.slice(0, start.character);
    const tail = this.#document.lineAt(end.line).text.slice(end.character);
    return new Proposal(this.#document.getText(this.range), head, tail);
  }
}
