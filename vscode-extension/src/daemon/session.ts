/** The daemon behind this window, over all its processes: start, death, restart, end. */
import * as vscode from 'vscode';

import {
  DaemonError,
  type DaemonSession,
  type Failure,
  type OnText,
  type ParamsOf,
  type RequestMethod,
  type ResultOf,
  type SessionState,
  type StreamMethod,
  type WorkMethod,
} from '../api.ts';
import type { Snapshot } from '../protocol.ts';
import type { Connection, WorkReport } from './connection.ts';
import * as failures from './failures.ts';
import { launch, type Launched, type LaunchOptions } from './launch.ts';
import type { DaemonProcess } from './process.ts';
import { afterDeath, MAX_DEATHS, WINDOW_MS, type Death } from './restarts.ts';

export class Session implements DaemonSession, vscode.Disposable {
  readonly #options: LaunchOptions;
  readonly #changes = new vscode.EventEmitter<void>();
  readonly onDidChange = this.#changes.event;
  #state: SessionState = 'stopped';
  #snapshot: Snapshot | undefined;
  #failure: Failure | undefined;
  #process: DaemonProcess | undefined;
  #connection: Connection | undefined;
  #deaths: readonly Death[] = [];
  /** Numbers the starts: what belongs to an older one is dropped. */
  #run = 0;
  #tail: Promise<void> = Promise.resolve();

  constructor(options: LaunchOptions) {
    this.#options = options;
  }

  get state(): SessionState {
    return this.#state;
  }

  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  get failure(): Failure | undefined {
    return this.#failure;
  }

  get processId(): number | undefined {
    return this.#process?.child.pid;
  }

  async restart(): Promise<void> {
    this.#deaths = [];
    const run = this.#interrupt();
    await this.#inTurn(async () => {
      await this.#endConnection();
      await this.#start(run);
    });
  }

  /** Resolves when no process is left. */
  async stop(): Promise<void> {
    this.#interrupt();
    await this.#inTurn(async () => {
      await this.#endConnection();
      this.#become('stopped');
    });
  }

  dispose(): void {
    void this.stop().then(() => {
      this.#changes.dispose();
    });
  }

  async request<M extends RequestMethod>(
    method: M,
    params: ParamsOf<M>,
    token: vscode.CancellationToken = new vscode.CancellationTokenSource().token,
  ): Promise<ResultOf<M>> {
    return (await this.#ready(token)).request(method, params, token);
  }

  async stream<M extends StreamMethod>(
    method: M,
    params: ParamsOf<M>,
    onText: OnText,
    token: vscode.CancellationToken,
  ): Promise<ResultOf<M>> {
    return (await this.#ready(token)).stream(method, params, onText, token);
  }

  /**
   * Ask for something that takes long and reports how far it is.
   *
   * @throws {@link DaemonError}, as `request`.
   */
  async work<M extends WorkMethod>(
    method: M,
    params: ParamsOf<M>,
    token: vscode.CancellationToken,
    onReport: (report: WorkReport) => void,
  ): Promise<ResultOf<M>> {
    return (await this.#ready(token)).work(method, params, token, onReport);
  }

  /** A process that starts hears the settings anyway. */
  settingsChanged(): void {
    this.#connection?.settingsChanged().catch((error: unknown) => {
      this.#options.channel.warn(`The daemon was not told that settings changed: ${String(error)}`);
    });
  }

  /** The connection, once there is one. */
  async #ready(token: vscode.CancellationToken): Promise<Connection> {
    while (this.#state === 'starting' || this.#state === 'restarting') {
      if (token.isCancellationRequested) {
        throw new DaemonError('RequestCancelled', 'Cancelled.', -32800);
      }
      await this.#change(token);
    }
    if (this.#connection === undefined) {
      throw new DaemonError('DaemonUnavailable', this.#failure?.message ?? 'The botframework daemon does not run.');
    }
    return this.#connection;
  }

  #change(token: vscode.CancellationToken): Promise<void> {
    return new Promise((resolve) => {
      const waiting: vscode.Disposable[] = [];
      const done = (): void => {
        vscode.Disposable.from(...waiting).dispose();
        resolve();
      };
      waiting.push(this.onDidChange(done), token.onCancellationRequested(done));
    });
  }

  /** One start or end at a time, in the order in which they were asked for. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#tail = this.#tail.then(work).catch((error: unknown) => {
      this.#options.channel.error(String(error));
    });
    return this.#tail;
  }

  /** What was begun does not count any more; a process that has not answered yet is not waited for. */
  #interrupt(): number {
    if (this.#connection === undefined) {
      this.#process?.child.kill('SIGKILL');
    }
    this.#run += 1;
    return this.#run;
  }

  async #start(run: number): Promise<void> {
    if (run !== this.#run) {
      return;
    }
    this.#become('starting');
    const launched = await launch(this.#options, {
      onProcess: (process) => {
        this.#process = process;
        if (run !== this.#run) {
          process.child.kill('SIGKILL');
        }
      },
      onHeartbeat: (snapshot) => {
        if (run === this.#run) {
          this.#snapshot = snapshot;
          this.#changes.fire();
        }
      },
    });
    if (run === this.#run) {
      this.#settle(run, launched);
    } else {
      this.#process = undefined;
      await ('connection' in launched ? launched.connection.end() : undefined);
    }
  }

  #settle(run: number, launched: Launched): void {
    if ('connection' in launched) {
      const { connection } = launched;
      this.#connection = connection;
      this.#become('running');
      void connection.exited.then((exit) => {
        if (run === this.#run) {
          this.#died(run, exit, connection.lastLines, false);
        }
      });
    } else if ('exit' in launched) {
      this.#died(run, launched.exit, launched.lastLines, true);
    } else {
      this.#fail(launched.failure);
    }
  }

  #died(run: number, exit: failures.Exit, lastLines: readonly string[], atStart: boolean): void {
    this.#connection = undefined;
    this.#process = undefined;
    const { deaths, pauseMs } = afterDeath(this.#deaths, { at: Date.now(), atStart });
    this.#deaths = deaths;
    if (pauseMs === undefined) {
      this.#fail(
        deaths.length >= MAX_DEATHS
          ? failures.crashed(deaths.length, WINDOW_MS / 60_000, exit, lastLines)
          : failures.crashedAtStart(exit, lastLines),
      );
      return;
    }
    this.#options.channel.warn(`The daemon ended (${failures.ending(exit)}); next start in ${pauseMs} ms`);
    this.#become('restarting');
    setTimeout(() => {
      void this.#inTurn(() => this.#start(run));
    }, pauseMs);
  }

  async #endConnection(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.end();
    this.#process = undefined;
  }

  #fail(failure: Failure): void {
    this.#process = undefined;
    this.#options.channel.error(failure.message);
    this.#become('failed', failure);
  }

  #become(state: SessionState, failure?: Failure): void {
    this.#state = state;
    this.#failure = failure;
    if (state !== 'running') {
      this.#snapshot = undefined; // The first heartbeat may come before the start is settled.
    }
    this.#changes.fire();
  }
}
