/** The read-only documents in which an edit is shown; they exist as long as somebody provides their text. */
import * as vscode from 'vscode';

export const REVIEW_SCHEME = 'botframework-edit';

export class ReviewDocuments implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly #texts = new Map<string, () => string>();
  readonly onDidChange = this.#changed.event;
  // Behind the event: whoever registers a provider looks for it at once.
  readonly #registration = vscode.workspace.registerTextDocumentContentProvider(REVIEW_SCHEME, this);

  /** The window may have been reloaded in the middle of a review; what its tab shows is gone. */
  static async closeLeftOver(): Promise<void> {
    const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs);
    await vscode.window.tabGroups.close(tabs.filter((tab) => uriOf(tab)?.scheme === REVIEW_SCHEME));
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.#texts.get(uri.toString())?.() ?? '';
  }

  add(uri: vscode.Uri, text: () => string): void {
    this.#texts.set(uri.toString(), text);
  }

  /** The text has changed: whoever shows it asks again. */
  refresh(uri: vscode.Uri): void {
    this.#changed.fire(uri);
  }

  /** The review is over: its tabs go. */
  async remove(uris: readonly vscode.Uri[]): Promise<void> {
    const gone = new Set(uris.map(String));
    for (const uri of gone) {
      this.#texts.delete(uri);
    }
    const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs);
    await vscode.window.tabGroups.close(tabs.filter((tab) => gone.has(String(uriOf(tab)))));
  }

  dispose(): void {
    this.#registration.dispose();
    this.#changed.dispose();
  }
}

/** What a tab shows; of a comparison, its new side. */
export function uriOf(tab: vscode.Tab): vscode.Uri | undefined {
  if (tab.input instanceof vscode.TabInputText) {
    return tab.input.uri;
  }
  return tab.input instanceof vscode.TabInputTextDiff ? tab.input.modified : undefined;
}
