/** One process and the client that speaks with it, from the handshake to the end of the process. */
import { randomUUID } from 'node:crypto';

import type { CancellationToken } from 'vscode';
import {
  ProgressType,
  type LanguageClient,
  type WorkDoneProgressBegin,
  type WorkDoneProgressEnd,
  type WorkDoneProgressReport,
} from 'vscode-languageclient/node';

import type { OnText, ParamsOf, RequestMethod, ResultOf, StreamMethod, WorkMethod } from '../api.ts';
import type { StreamValue } from '../protocol.ts';
import { died, toDaemonError } from './errors.ts';
import type { Exit } from './failures.ts';
import type { DaemonProcess } from './process.ts';

/** Milliseconds for `shutdown` and `exit`; then the process is ended. VS Code gives a window's end 5 s in all. */
const SHUTDOWN_MS = 2_000;
const KILL_AFTER_MS = 1_500;

/** A step of a long work. */
export interface WorkReport {
  /** 0 to 100. */
  readonly percentage?: number | undefined;
  readonly message?: string | undefined;
}

export class Connection {
  readonly #client: LanguageClient;
  readonly #process: DaemonProcess;

  constructor(client: LanguageClient, process: DaemonProcess) {
    this.#client = client;
    this.#process = process;
    // Its commands and providers go before the next client registers the same.
    void process.exited
      .then(() => client.stop(0))
      .catch(() => {
        // There is nobody to say goodbye to.
      });
  }

  /** Resolves when the process ended, however it did. */
  get exited(): Promise<Exit> {
    return this.#process.exited;
  }

  get lastLines(): readonly string[] {
    return this.#process.lastLines();
  }

  /** @throws DaemonError */
  async request<M extends RequestMethod>(
    method: M,
    params: ParamsOf<M>,
    token: CancellationToken,
  ): Promise<ResultOf<M>> {
    const answer = this.#client.sendRequest<ResultOf<M>>(method, params, token);
    const death = this.#process.exited.then(() => {
      throw died();
    });
    try {
      return await Promise.race([answer, death]);
    } catch (error) {
      throw toDaemonError(error);
    }
  }

  /** @throws DaemonError */
  async stream<M extends StreamMethod>(
    method: M,
    params: ParamsOf<M>,
    onText: OnText,
    token: CancellationToken,
  ): Promise<ResultOf<M>> {
    const partialResultToken = newToken();
    const listening = this.#client.onProgress(
      new ProgressType<StreamValue>(),
      partialResultToken,
      ({ text, index }) => {
        onText(text, index);
      },
    );
    try {
      return await this.request(method, { ...params, partialResultToken }, token);
    } finally {
      listening.dispose();
    }
  }

  /** @throws DaemonError */
  async work<M extends WorkMethod>(
    method: M,
    params: ParamsOf<M>,
    token: CancellationToken,
    onReport: (report: WorkReport) => void,
  ): Promise<ResultOf<M>> {
    type Step = WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd;
    const workDoneToken = newToken();
    const listening = this.#client.onProgress(new ProgressType<Step>(), workDoneToken, (step) => {
      if (step.kind !== 'end') {
        onReport(step);
      }
    });
    try {
      return await this.request(method, { ...params, workDoneToken }, token);
    } finally {
      listening.dispose();
    }
  }

  /** The daemon asks for what it wants to know. */
  async settingsChanged(): Promise<void> {
    await this.#client.sendNotification('workspace/didChangeConfiguration', { settings: null });
  }

  /** Whatever the process does: when this resolves it is gone. Never rejects. */
  async end(): Promise<void> {
    try {
      await this.#client.stop(SHUTDOWN_MS);
    } catch {
      // It does not answer; then its input ends, and then it is killed.
    }
    this.#process.child.stdin.end();
    await this.#process.end(KILL_AFTER_MS);
  }
}

function newToken(): string {
  return `botframework-${randomUUID()}`;
}
