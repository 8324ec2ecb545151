/**
 * What the parts of the extension, its tests and other extensions see of the daemon: the value that `activate` returns.
 */
import type { CancellationToken, Event } from 'vscode';

import type { ErrorKind, Requests, Snapshot } from './protocol.ts';

/**
 * The life of the daemon's process, as the client sees it. What the model does is in {@link Snapshot.state}.
 *
 * - `stopped`: nobody asked for it, or it was asked to stop
 * - `starting`: the process runs or is about to, and has not answered `initialize`
 * - `running`: it answers
 * - `restarting`: it died and is started again after a pause
 * - `failed`: it will not be started again without the user; {@link DaemonSession.failure} says why
 */
export type SessionState = 'stopped' | 'starting' | 'running' | 'restarting' | 'failed';

/** Why there is no daemon: one sentence for people and what they can do about it. */
export interface Failure {
  readonly kind: FailureKind;
  /** One or two sentences, with the next step; no stack trace. */
  readonly message: string;
  /** The last lines of the daemon's standard error; empty if it wrote none. */
  readonly lastLines: readonly string[];
}

export type FailureKind =
  | 'missing'
  | 'notExecutable'
  | 'wrongArchitecture'
  | 'notTheDaemon'
  | 'wrongVersion'
  | 'silent'
  | 'crashedAtStart'
  | 'crashed'
  | 'noPackage';

/** Requests whose answer comes in pieces. */
export type StreamMethod = 'botframework/chat' | 'botframework/complete' | 'botframework/edit';

/** Requests that take long and report how far they are. */
export type WorkMethod = 'botframework/models/load' | 'botframework/models/pull';

export type RequestMethod = keyof Requests;
export type ParamsOf<M extends RequestMethod> = Requests[M]['params'];
export type ResultOf<M extends RequestMethod> = Requests[M]['result'];

/** Called with each piece of an answer and the number of the piece's first token, in order. */
export type OnText = (text: string, index: number) => void;

/** The daemon behind this window. One object for the life of the extension, however often the process is replaced. */
export interface DaemonSession {
  readonly state: SessionState;
  /** The last heartbeat of the process that runs now; undefined before its first one and while none runs. */
  readonly snapshot: Snapshot | undefined;
  /** Set in the state `failed`. */
  readonly failure: Failure | undefined;
  /** Of the daemon; undefined while there is none. */
  readonly processId: number | undefined;
  /** Fires after every change of `state`, `snapshot` or `failure`. */
  readonly onDidChange: Event<void>;
  /**
   * Ask the daemon. While it starts, the request waits for it.
   *
   * @throws {@link DaemonError}, also when the daemon dies meanwhile and when `token` is cancelled.
   */
  request<M extends RequestMethod>(method: M, params: ParamsOf<M>, token?: CancellationToken): Promise<ResultOf<M>>;
  /**
   * Ask for a streamed answer. The result's `text` is empty: the text went to `onText`.
   *
   * @throws {@link DaemonError}, as `request`.
   */
  stream<M extends StreamMethod>(
    method: M,
    params: ParamsOf<M>,
    onText: OnText,
    token: CancellationToken,
  ): Promise<ResultOf<M>>;
  /** Stop the process if it runs, and start it with a fresh budget of restarts. Resolves when that is decided. */
  restart(): Promise<void>;
}

/** Kinds of errors that arise on the client's side, beside those of PROTOCOL.md's table. */
export type LocalKind =
  /** There is no daemon, or it stopped. */
  | 'DaemonUnavailable'
  /** It died while the request was with it. */
  | 'DaemonDied'
  /** Anything else. */
  | 'Unexpected';

/** A request that failed. `message` is a sentence for people. */
export class DaemonError extends Error {
  override readonly name = 'DaemonError';
  /** The JSON-RPC code; 0 for a {@link LocalKind}. */
  readonly code: number;
  /** A newer daemon may send kinds that are not among these. */
  readonly kind: LocalKind | ErrorKind;
  readonly data: unknown;

  constructor(kind: LocalKind | ErrorKind, message: string, code = 0, data?: unknown) {
    super(message);
    this.kind = kind;
    this.code = code;
    this.data = data;
  }

  /** Whether the client itself took the request back. */
  get isCancelled(): boolean {
    return this.kind === 'RequestCancelled';
  }
}

/** What `activate` returns. */
export interface Api {
  readonly session: DaemonSession;
  /** Resolves when the daemon answered or cannot be started. */
  readonly started: Promise<void>;
}
