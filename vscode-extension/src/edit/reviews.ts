/** The review of edits in the window, one at a time: written, accepted or rejected. */
import * as vscode from 'vscode';

import { replaceText, whyNotWritable } from './applying.ts';
import { COMPARE_COMMAND, RETRY_COMMAND } from './lenses.ts';
import { Review } from './review.ts';
import { ReviewScreen } from './screen.ts';

/** What would be replaced. */
export interface Place {
  readonly document: vscode.TextDocument;
  readonly range: vscode.Range;
}

/** Writes the new text into the review and gives what there is to say about it; rejects when it cannot. */
export type Writer = (
  review: Review,
  onText: (text: string) => void,
  token: vscode.CancellationToken,
) => Promise<string>;

export class Reviews implements vscode.Disposable {
  readonly #screen = new ReviewScreen();
  readonly #explain: (error: unknown) => string;
  readonly #subscriptions: vscode.Disposable;
  #count = 0;
  #review: Review | undefined;
  #writer: Writer | undefined;
  #source: vscode.CancellationTokenSource | undefined;
  /** The answer of the user is being carried out. */
  #isEnding = false;

  /** @param explain - what a failed writer says to the user */
  constructor(explain: (error: unknown) => string) {
    this.#explain = explain;
    const { registerCommand } = vscode.commands;
    this.#subscriptions = vscode.Disposable.from(
      this.#screen,
      registerCommand('botframework.edit.accept', () => this.accept()),
      registerCommand('botframework.edit.reject', () => this.reject()),
      registerCommand(RETRY_COMMAND, () => this.#retry()),
      registerCommand(COMPARE_COMMAND, () => this.#review && this.#screen.compare(this.#review)),
      // Whoever closes the review does not want the edit.
      this.#screen.onDidClose((review) => void this.#end(review)),
    );
  }

  dispose(): void {
    this.#source?.cancel();
    this.#subscriptions.dispose();
  }

  /** Show a text that is there already. Gives why it could not; undefined if it could. */
  propose(place: Place & { readonly text: string }): Promise<string | undefined> {
    return this.write(place, (_review, onText) => {
      onText(place.text);
      return Promise.resolve('');
    });
  }

  /** Show a text while it is written. Gives why it could not begin; undefined once it was written, or the user went away. */
  async write({ document, range }: Place, writer: Writer): Promise<string | undefined> {
    const reason = await whyNotWritable(document);
    if (reason !== undefined) {
      return reason;
    }
    if (this.#review !== undefined) {
      const waiting = this.#review;
      await this.#screen.bringUp(waiting);
      return `An edit of ${waiting.name} waits for you. Accept or reject it first.`;
    }
    const from = vscode.window.visibleTextEditors.find((editor) => editor.document === document);
    this.#count += 1;
    const review = new Review(this.#count, document, range, from?.viewColumn);
    this.#review = review;
    this.#writer = writer;
    try {
      await this.#screen.open(review);
    } catch {
      // An edit that nobody can see would stand in the way of every other one.
      await this.#end(review);
      return 'The edit could not be shown. Nothing was changed.';
    }
    await this.#run(review, writer);
    return undefined;
  }

  /** Put the new text into the file, in one step of undo. */
  async accept(): Promise<void> {
    const review = this.#review;
    if (review === undefined || this.#isEnding) {
      return;
    }
    if (review.state !== 'ready') {
      const isWriting = review.state === 'writing';
      const told = isWriting ? 'The edit is still being written.' : 'The edit is not complete. Retry or discard it.';
      void vscode.window.showInformationMessage(told);
      return;
    }
    // A second Ctrl+Enter may come before the first one is through.
    this.#isEnding = true;
    try {
      const problem = await this.#apply(review);
      if (problem === undefined) {
        await this.#end(review);
      } else {
        void this.#offerCopy(review, problem);
      }
    } finally {
      this.#isEnding = false;
    }
  }

  /** Forget the edit; what is being written is stopped. The file was never touched. */
  async reject(): Promise<void> {
    const review = this.#review;
    if (review !== undefined && !this.#isEnding) {
      await this.#end(review);
      await this.#screen.goBack(review);
    }
  }

  async #run(review: Review, writer: Writer): Promise<void> {
    const source = new vscode.CancellationTokenSource();
    const isOver = (): boolean => review !== this.#review;
    const onText = (text: string): void => {
      if (!isOver()) {
        review.append(text);
        this.#screen.refreshSoon();
      }
    };
    this.#source = source;
    try {
      const note = await writer(review, onText, source.token);
      if (!isOver()) {
        review.finish(note);
      }
    } catch (error) {
      if (!isOver()) {
        review.fail(this.#explain(error));
        void this.#offerRetry(review);
      }
    } finally {
      source.dispose();
    }
    if (isOver()) {
      return;
    }
    if (review.changesNothing) {
      await this.reject();
      void vscode.window.showInformationMessage(`The edit would change nothing in ${review.name}.`);
    } else {
      this.#screen.refresh();
    }
  }

  async #apply(review: Review): Promise<string | undefined> {
    try {
      // The user may have closed it meanwhile.
      review.adopt(await vscode.workspace.openTextDocument(review.targetUri));
    } catch {
      return `${review.name} cannot be opened any more. Nothing was changed.`;
    }
    if (!review.isCurrent) {
      return `${review.name} was changed where the edit belongs. Nothing was replaced.`;
    }
    try {
      return await replaceText(review.document, review.range, review.text, review.column);
    } catch {
      return `${review.name} could not be shown to be changed. Nothing was changed.`;
    }
  }

  async #retry(): Promise<void> {
    const review = this.#review;
    if (review?.state === 'failed' && this.#writer !== undefined) {
      review.startAgain();
      this.#screen.refresh();
      await this.#run(review, this.#writer);
    }
  }

  async #end(review: Review): Promise<void> {
    this.#review = undefined;
    this.#writer = undefined;
    this.#source?.cancel();
    this.#source = undefined;
    await this.#screen.close(review);
  }

  async #offerRetry(review: Review): Promise<void> {
    const told = `The edit of ${review.name} was not completed. ${review.problem}`;
    const chosen = await vscode.window.showErrorMessage(told, 'Retry', 'Discard');
    if (review !== this.#review) {
      return;
    }
    if (chosen === 'Retry') {
      await this.#retry();
    } else if (chosen === 'Discard') {
      await this.reject();
    }
  }

  async #offerCopy(review: Review, problem: string): Promise<void> {
    const chosen = await vscode.window.showWarningMessage(problem, 'Copy the New Text');
    if (chosen !== undefined) {
      await vscode.env.clipboard.writeText(review.text);
    }
  }
}
