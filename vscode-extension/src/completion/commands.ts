/** Commands around suggestions, and the middleware that keeps quiet where none are wanted. */
import { basename } from 'node:path/posix';

import * as vscode from 'vscode';
import type { Middleware } from 'vscode-languageclient/node';

import { DaemonError, type DaemonSession } from '../api.ts';
import { write } from '../configuration.ts';
import { EVERY_LANGUAGE, isEnabledFor, type Enablement } from '../settings.ts';
import { SNOOZE_MINUTES, toggled, toggledFor } from './enablement.ts';
import type { Pause } from './pause.ts';
import { page } from './why.ts';

const WHY_SCHEME = 'botframework-why';

/** What the user wants now. */
export interface Wishes {
  readonly pause: Pause;
  /** The setting `botframework.enable`. */
  readonly enabled: () => Enablement;
  /** The setting `botframework.completion.enabled`. */
  readonly isCompletionEnabled: () => boolean;
}

/** Whether suggestions appear in this language, pauses aside. */
export function isOnFor(wishes: Wishes, language: string): boolean {
  return wishes.isCompletionEnabled() && isEnabledFor(wishes.enabled(), language);
}

/** The daemon is asked only where the user wants suggestions; otherwise the path is languageclient's own. */
export function completionMiddleware(wishes: () => Wishes): Middleware {
  return {
    provideInlineCompletionItems: (document, position, context, token, next) => {
      const now = wishes();
      return !now.pause.isPaused && isOnFor(now, document.languageId) ? next(document, position, context, token) : [];
    },
  };
}

export function registerCompletion(session: DaemonSession, wishes: Wishes): vscode.Disposable[] {
  const pages = new WhyPages();
  const register = vscode.commands.registerCommand.bind(vscode.commands);
  return [
    vscode.workspace.registerTextDocumentContentProvider(WHY_SCHEME, pages),
    pages,
    register('botframework.triggerSuggestion', () => run('editor.action.inlineSuggest.trigger')),
    register('botframework.acceptWord', () => run('editor.action.inlineSuggest.acceptNextWord')),
    register('botframework.acceptLine', () => run('editor.action.inlineSuggest.acceptNextLine')),
    register('botframework.toggle', () => toggle(wishes)),
    register('botframework.toggleLanguage', () => toggleLanguage(wishes)),
    register('botframework.snooze', (minutes?: unknown) => snooze(wishes.pause, minutes)),
    register('botframework.pause', () => wishes.pause.pause()),
    register('botframework.resume', () => wishes.pause.resume()),
    register('botframework.why', () => why(session, wishes, pages)),
  ];
}

function run(command: string): Thenable<unknown> {
  return vscode.commands.executeCommand(command);
}

/** Off by one of two settings is off; on takes both. */
async function toggle(wishes: Wishes): Promise<void> {
  const enabled = wishes.enabled();
  const wasOn = isOnFor(wishes, EVERY_LANGUAGE);
  if (!wasOn && !wishes.isCompletionEnabled()) {
    await write('completion.enabled', undefined);
  }
  if (isEnabledFor(enabled, EVERY_LANGUAGE) === wasOn) {
    await write('enable', toggled(enabled));
  }
}

async function toggleLanguage(wishes: Wishes): Promise<void> {
  const language = vscode.window.activeTextEditor?.document.languageId;
  if (language === undefined) {
    void vscode.window.showInformationMessage('Open a file first: its language is what would be switched.');
    return;
  }
  await write('enable', toggledFor(wishes.enabled(), language));
}

/** @param given - minutes, when another extension or a keybinding says how many */
async function snooze(pause: Pause, given: unknown): Promise<void> {
  let minutes = typeof given === 'number' && given > 0 ? given : undefined;
  if (minutes === undefined) {
    const choices = SNOOZE_MINUTES.map((each) => ({ label: `${each} minutes`, minutes: each }));
    const title = 'No suggestions for …';
    minutes = (await vscode.window.showQuickPick(choices, { title }))?.minutes;
  }
  if (minutes !== undefined) {
    await pause.snooze(minutes);
  }
}

async function why(session: DaemonSession, wishes: Wishes, pages: WhyPages): Promise<void> {
  const document = vscode.window.activeTextEditor?.document;
  if (document === undefined || document.uri.scheme === WHY_SCHEME) {
    void vscode.window.showInformationMessage(
      'Put the cursor into the file in question. Files that are no text, or larger than 50 MB, get no suggestions: ' +
        'VS Code keeps them from extensions.',
    );
    return;
  }
  let answer;
  let problem: string | undefined;
  try {
    const params = { textDocument: { uri: document.uri.toString() } };
    answer = session.state === 'running' ? await session.request('botframework/inspect', params) : undefined;
  } catch (error) {
    problem =
      error instanceof DaemonError && error.kind === 'InvalidParams'
        ? 'The daemon does not follow this document: it is too large, or not of a kind that it is told about.'
        : error instanceof Error
          ? error.message
          : undefined;
  }
  const text = page({
    name: basename(document.uri.path),
    language: document.languageId,
    isEnabled: isOnFor(wishes, document.languageId),
    isPaused: wishes.pause.isPaused,
    state: session.state,
    failure: session.failure?.message,
    snapshot: session.snapshot,
    answer,
    problem,
  });
  await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(pages.put(document.uri, text)), {
    preview: true,
    viewColumn: vscode.ViewColumn.Beside,
    preserveFocus: false,
  });
}

/** Read-only pages, one per document that was asked about. */
class WhyPages implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #changes = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.#changes.event;
  readonly #texts = new Map<string, string>();

  put(about: vscode.Uri, text: string): vscode.Uri {
    const uri = vscode.Uri.from({
      scheme: WHY_SCHEME,
      path: `/Why no suggestion in ${basename(about.path)}.md`,
      query: about.toString(),
    });
    this.#texts.set(uri.toString(), text);
    this.#changes.fire(uri);
    return uri;
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.#texts.get(uri.toString()) ?? '';
  }

  dispose(): void {
    this.#changes.dispose();
    this.#texts.clear();
  }
}
