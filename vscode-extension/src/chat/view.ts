/** The chat view: a page that shows the active conversation, and what happens when the user does something in it. */
import { randomBytes } from 'node:crypto';

import * as vscode from 'vscode';

import { pageHtml } from './page.ts';
import type { ToExtension, ToPage } from './messages.ts';
import { parseFromPage } from './messages.ts';

export const VIEW_ID = 'botframework.chat';
const NONCE_BYTES = 16;

/** The view as the rest of the chat sees it: a place to say things to, whether it is on the screen or not. */
export class ChatView implements vscode.WebviewViewProvider, vscode.Disposable {
  readonly #extensionUri: vscode.Uri;
  readonly #onMessage: (message: ToExtension) => void;
  #view: vscode.WebviewView | undefined;
  #isReady = false;
  /** Whether the input shall get the focus once the page is there. */
  #wantsFocus = false;

  constructor(extensionUri: vscode.Uri, onMessage: (message: ToExtension) => void) {
    this.#extensionUri = extensionUri;
    this.#onMessage = onMessage;
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    this.#view = view;
    this.#isReady = false;
    const { webview } = view;
    const inside = (...path: string[]): vscode.Uri => vscode.Uri.joinPath(this.#extensionUri, ...path);
    webview.options = { enableScripts: true, localResourceRoots: [inside('dist'), inside('media')] };
    webview.onDidReceiveMessage((value: unknown) => {
      const message = parseFromPage(value);
      if (message !== undefined) {
        this.#isReady = true;
        this.#onMessage(message);
        this.#giveFocus();
      }
    });
    view.onDidDispose(() => {
      this.#view = undefined;
      this.#isReady = false;
    });
    webview.html = pageHtml({
      cspSource: webview.cspSource,
      nonce: randomBytes(NONCE_BYTES).toString('hex'),
      script: webview.asWebviewUri(inside('dist', 'chat.js')).toString(),
      style: webview.asWebviewUri(inside('media', 'chat.css')).toString(),
    });
  }

  /** Tell the page, if there is one; a page that comes later asks for everything. */
  post(message: ToPage): void {
    if (this.#isReady) {
      void this.#view?.webview.postMessage(message);
    }
  }

  set title(title: string) {
    if (this.#view !== undefined) {
      this.#view.description = title;
    }
  }

  /** Bring the view to the front and put the cursor into its input. */
  async focus(): Promise<void> {
    this.#wantsFocus = true;
    await vscode.commands.executeCommand(`${VIEW_ID}.focus`);
    this.#giveFocus();
  }

  dispose(): void {
    this.#view = undefined;
  }

  #giveFocus(): void {
    if (this.#wantsFocus && this.#isReady) {
      this.#wantsFocus = false;
      this.post({ type: 'focus' });
    }
  }
}
