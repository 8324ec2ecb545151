/** Pause and snooze: what the user asked for, kept across the daemon's restarts. */
import * as vscode from 'vscode';

import type { DaemonSession } from '../api.ts';
import { isPaused, nextTick, snoozedUntil, type PausedUntil } from './enablement.ts';

export class Pause implements vscode.Disposable {
  readonly #session: DaemonSession;
  readonly #changes = new vscode.EventEmitter<void>();
  /** Fires when the pause begins or ends, and when another minute is over. */
  readonly onDidChange = this.#changes.event;
  readonly #listening: vscode.Disposable;
  #until: PausedUntil = 0;
  #timer: NodeJS.Timeout | undefined;
  #wasRunning = false;

  constructor(session: DaemonSession) {
    this.#session = session;
    this.#listening = session.onDidChange(() => {
      const isRunning = session.state === 'running';
      if (isRunning && !this.#wasRunning && this.isPaused) {
        // A new process knows nothing of the pause.
        void this.#tell();
      }
      this.#wasRunning = isRunning;
    });
  }

  get until(): PausedUntil {
    return this.#until;
  }

  get isPaused(): boolean {
    return isPaused(this.#until, Date.now());
  }

  async snooze(minutes: number): Promise<void> {
    await this.#set(snoozedUntil(minutes, Date.now()));
  }

  async pause(): Promise<void> {
    await this.#set(Number.POSITIVE_INFINITY);
  }

  async resume(): Promise<void> {
    await this.#set(0);
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#listening.dispose();
    this.#changes.dispose();
  }

  async #set(until: PausedUntil): Promise<void> {
    this.#until = until;
    this.#count();
    await this.#tell();
  }

  #count(): void {
    clearTimeout(this.#timer);
    this.#changes.fire();
    if (this.isPaused && Number.isFinite(this.#until)) {
      this.#timer = setTimeout(
        () => {
          this.#count();
        },
        nextTick(this.#until, Date.now()),
      );
    } else if (this.#until !== 0 && !this.isPaused) {
      void this.resume();
    }
  }

  /** The daemon stops reading ahead too. If it is not there, the middleware alone keeps quiet. */
  async #tell(): Promise<void> {
    if (this.#session.state === 'running') {
      try {
        await this.#session.request(this.isPaused ? 'botframework/pause' : 'botframework/resume', {});
      } catch {
        // It died or is ending; the next one is told when it runs.
      }
    }
  }
}
