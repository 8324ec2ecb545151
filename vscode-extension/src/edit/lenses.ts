/** The line of buttons above an edit that is being reviewed. */
import * as vscode from 'vscode';

import { REVIEW_SCHEME } from './documents.ts';
import type { Review } from './review.ts';

/** Commands of the buttons that nobody needs elsewhere; the others are in package.json. */
export const RETRY_COMMAND = '_botframework.edit.retry';
export const COMPARE_COMMAND = '_botframework.edit.compare';

export class ReviewLenses implements vscode.CodeLensProvider, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #current: () => Review | undefined;

  readonly onDidChangeCodeLenses = this.#changed.event;
  // Behind the event: whoever registers a provider looks for it at once.
  readonly #registration = vscode.languages.registerCodeLensProvider({ scheme: REVIEW_SCHEME }, this);

  constructor(current: () => Review | undefined) {
    this.#current = current;
  }

  provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
    const review = this.#current();
    if (review?.uri.toString() !== document.uri.toString()) {
      return [];
    }
    const place = new vscode.Range(review.firstLine, 0, review.firstLine, 0);
    return buttonsOf(review).map((command) => new vscode.CodeLens(place, command));
  }

  refresh(): void {
    this.#changed.fire();
  }

  dispose(): void {
    this.#registration.dispose();
    this.#changed.dispose();
  }
}

function buttonsOf(review: Review): vscode.Command[] {
  const reject = (title: string): vscode.Command => ({ title, command: 'botframework.edit.reject' });
  const say = (title: string, tooltip = ''): vscode.Command => ({ title, tooltip, command: '' });
  switch (review.state) {
    case 'writing':
      return [say('$(sync~spin) Writing…'), reject('Stop')];
    case 'failed':
      return [
        say('$(error) Not complete', review.problem),
        { title: 'Retry', command: RETRY_COMMAND },
        reject('Discard'),
      ];
    case 'ready': {
      const { inserted, deleted } = review.counts;
      return [
        { title: '$(check) Accept', command: 'botframework.edit.accept' },
        reject('$(close) Reject'),
        { title: 'Compare', command: COMPARE_COMMAND },
        say(`+${String(inserted)} −${String(deleted)}${review.note === '' ? '' : `: ${review.note}`}`),
      ];
    }
  }
}
