/** What the user sees of a review: its tab, which is kept up to date, its marks and its buttons. */
import * as vscode from 'vscode';

import { ReviewDocuments, uriOf } from './documents.ts';
import { ReviewLenses } from './lenses.ts';
import { Marks } from './marks.ts';
import type { Review } from './review.ts';

/** Milliseconds between two looks at what is being written: it is meant for eyes. */
const REFRESH_MS = 100;
/** Characters of a file that take about a millisecond more to show; the whole text travels to the window each time. */
const CHARACTERS_PER_MS = 10_000;
/** Set while the review has the focus, so that its keys mean something. */
const CONTEXT_KEY = 'botframework.editPending';

export class ReviewScreen implements vscode.Disposable {
  readonly #documents = new ReviewDocuments();
  readonly #marks = new Marks();
  readonly #lenses = new ReviewLenses(() => this.#review);
  readonly #closed = new vscode.EventEmitter<Review>();
  readonly #subscriptions: vscode.Disposable;
  #review: Review | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** The user closed the tab of a review that was open. */
  readonly onDidClose = this.#closed.event;

  constructor() {
    const { window, workspace } = vscode;
    this.#subscriptions = vscode.Disposable.from(
      this.#documents,
      this.#marks,
      this.#lenses,
      this.#closed,
      workspace.onDidChangeTextDocument((event) => {
        this.#onText(event);
      }),
      window.onDidChangeVisibleTextEditors(() => {
        this.#mark();
      }),
      window.onDidChangeActiveTextEditor(() => {
        this.#setContext();
      }),
      window.tabGroups.onDidChangeTabs(({ closed }) => {
        const review = this.#review;
        if (review !== undefined && closed.some((tab) => isSame(uriOf(tab), review.uri))) {
          this.#closed.fire(review);
        }
      }),
    );
    ReviewDocuments.closeLeftOver().catch(() => undefined);
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#subscriptions.dispose();
  }

  /** Show this review and no other from now on. */
  async open(review: Review): Promise<void> {
    this.#review = review;
    this.#documents.add(review.uri, () => review.shown);
    this.#documents.add(review.afterUri, () => review.after);
    const before = vscode.window.visibleTextEditors.find(({ document }) => document === review.document);
    await this.bringUp(review, before?.visibleRanges[0]?.start.line);
  }

  /** Bring it to the front, with `topLine` where it is in the file's own editor. */
  async bringUp(review: Review, topLine?: number): Promise<void> {
    let document = await vscode.workspace.openTextDocument(review.uri);
    if (document.languageId !== review.languageId) {
      document = await vscode.languages.setTextDocumentLanguage(document, review.languageId);
    }
    const editor = await vscode.window.showTextDocument(document, { ...columnOf(review), preview: false });
    const first = new vscode.Position(review.firstLine, 0);
    editor.selection = new vscode.Selection(first, first);
    if (topLine !== undefined) {
      editor.revealRange(new vscode.Range(topLine, 0, topLine, 0), vscode.TextEditorRevealType.AtTop);
    }
    editor.revealRange(new vscode.Range(first, first), vscode.TextEditorRevealType.InCenterIfOutsideViewport);
    this.#mark();
    this.#setContext();
  }

  /** Show the file as it is beside the file as it would be. */
  async compare(review: Review): Promise<void> {
    this.#documents.refresh(review.afterUri);
    const title = `${review.name}: before and after the edit`;
    await vscode.commands.executeCommand('vscode.diff', review.targetUri, review.afterUri, title);
  }

  /** There is more text; shown soon, together with what comes until then. */
  refreshSoon(): void {
    const review = this.#review;
    if (review !== undefined) {
      const { document } = review;
      const size = document.offsetAt(document.lineAt(document.lineCount - 1).range.end);
      this.#timer ??= setTimeout(
        () => {
          this.refresh();
        },
        REFRESH_MS + size / CHARACTERS_PER_MS,
      );
    }
  }

  /** Show text, marks and buttons as they are now. */
  refresh(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#review !== undefined) {
      this.#documents.refresh(this.#review.uri);
      // The text may be the same and only its marks others; if it changes, they follow once more.
      this.#mark();
      this.#lenses.refresh();
    }
  }

  /** Take its tabs away. */
  async close(review: Review): Promise<void> {
    this.#review = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#setContext();
    await this.#documents.remove([review.uri, review.afterUri]);
  }

  /** Show the file itself. */
  async goBack(review: Review): Promise<void> {
    if (!review.document.isClosed && review.targetUri.scheme !== 'vscode-notebook-cell') {
      await vscode.window.showTextDocument(review.document, columnOf(review));
    }
  }

  #onText(event: vscode.TextDocumentChangeEvent): void {
    const review = this.#review;
    if (review === undefined) {
      return;
    }
    if (isSame(event.document.uri, review.uri)) {
      this.#mark();
    } else if (isSame(event.document.uri, review.targetUri)) {
      review.follow(event);
      this.refreshSoon();
    }
  }

  #mark(): void {
    const review = this.#review;
    for (const editor of vscode.window.visibleTextEditors) {
      if (review !== undefined && isSame(editor.document.uri, review.uri)) {
        this.#marks.set(editor, review.firstLine, review.lines);
      }
    }
  }

  #setContext(): void {
    const active = vscode.window.activeTextEditor?.document.uri;
    // In the comparison as well, whose new side has the focus.
    const isPending = isSame(active, this.#review?.uri) || isSame(active, this.#review?.afterUri);
    void vscode.commands.executeCommand('setContext', CONTEXT_KEY, isPending);
  }
}

function columnOf({ column }: Review): vscode.TextDocumentShowOptions {
  return column === undefined ? {} : { viewColumn: column };
}

function isSame(one: vscode.Uri | undefined, other: vscode.Uri | undefined): boolean {
  return one !== undefined && one.toString() === other?.toString();
}
