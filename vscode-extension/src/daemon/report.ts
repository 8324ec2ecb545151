/** Tells the user once what is wrong, with what can be done about it. */
import * as vscode from 'vscode';

import type { DaemonSession, Failure, FailureKind } from '../api.ts';
import { modelProblem, told } from './failures.ts';

const INSTALLATION = 'Installation';
const CHOOSE_FILE = 'Choose File…';
const USE_PYTHON = 'Use a Python…';
const RESTART = 'Restart';
const SHOW_LOG = 'Show Log';
const SETTINGS = 'Settings';
const SELECT_MODEL = 'Select Model…';

const WAYS_OUT: Readonly<Record<FailureKind, readonly string[]>> = {
  missing: [CHOOSE_FILE, USE_PYTHON, INSTALLATION],
  noPackage: [USE_PYTHON, CHOOSE_FILE, INSTALLATION],
  notExecutable: [CHOOSE_FILE, RESTART],
  wrongArchitecture: [CHOOSE_FILE, SETTINGS],
  notTheDaemon: [CHOOSE_FILE, SETTINGS, SHOW_LOG],
  wrongVersion: [CHOOSE_FILE, INSTALLATION],
  silent: [RESTART, CHOOSE_FILE, SHOW_LOG],
  crashedAtStart: [RESTART, SHOW_LOG, SETTINGS],
  crashed: [RESTART, SHOW_LOG, SETTINGS],
};

export class Report implements vscode.Disposable {
  readonly #session: DaemonSession;
  readonly #listening: vscode.Disposable;
  #toldFailure: Failure | undefined;
  #toldProblem = '';

  constructor(session: DaemonSession) {
    this.#session = session;
    this.#listening = session.onDidChange(() => {
      this.#onDidChange();
    });
  }

  dispose(): void {
    this.#listening.dispose();
  }

  #onDidChange(): void {
    const { failure, snapshot } = this.#session;
    if (failure !== this.#toldFailure) {
      this.#toldFailure = failure;
      if (failure !== undefined) {
        void offer(told(failure), WAYS_OUT[failure.kind]);
      }
    }
    const problem = snapshot?.state === 'error' && snapshot.error !== null ? modelProblem(snapshot.error) : '';
    if (snapshot !== undefined && problem !== this.#toldProblem) {
      this.#toldProblem = problem;
      if (problem !== '') {
        void offer(problem, [SELECT_MODEL, RESTART, SHOW_LOG]);
      }
    }
  }
}

async function offer(message: string, ways: readonly string[]): Promise<void> {
  switch (await vscode.window.showErrorMessage(message, ...ways)) {
    case CHOOSE_FILE:
      return choose('path', 'Choose the botframework daemon');
    case USE_PYTHON:
      return choose('interpreter', 'Choose a Python that has the package botframework');
    case INSTALLATION:
      // The README of the extension, "Installation": it needs no network.
      await vscode.commands.executeCommand('extension.open', 'botframework.botframework', 'readme');
      return;
    case RESTART:
      await vscode.commands.executeCommand('botframework.restart');
      return;
    case SHOW_LOG:
      await vscode.commands.executeCommand('botframework.showLog');
      return;
    case SETTINGS:
      await vscode.commands.executeCommand('botframework.openSettings');
      return;
    case SELECT_MODEL:
      await vscode.commands.executeCommand('botframework.selectModel');
      return;
    default:
  }
}

/** The change of the setting restarts the daemon. */
async function choose(key: 'path' | 'interpreter', title: string): Promise<void> {
  const files = await vscode.window.showOpenDialog({ title, openLabel: 'Use This File', canSelectMany: false });
  const file = files?.[0];
  if (file !== undefined) {
    await vscode.workspace.getConfiguration('botframework').update(key, file.fsPath, vscode.ConfigurationTarget.Global);
  }
}
