/** What the status bar says, from the session and the heartbeat. Pure. */
import type { SessionState } from '../api.ts';
import type { Download, Snapshot } from '../protocol.ts';

/** Everything that the status bar depends on. */
export interface StatusInput {
  readonly state: SessionState;
  readonly failure: string | undefined;
  readonly snapshot: Snapshot | undefined;
  /** Minutes of a snooze that are left; undefined: nothing is counted down. */
  readonly minutesLeft: number | undefined;
  readonly isPaused: boolean;
  /** The active document's language if suggestions are off for it; undefined: they are on, or there is no document. */
  readonly switchedOffFor: string | undefined;
}

export type StatusState =
  'starting' | 'loading' | 'ready' | 'busy' | 'sleeping' | 'paused' | 'off' | 'noModel' | 'error';

export interface Status {
  readonly state: StatusState;
  /** With icons, for the status bar. */
  readonly text: string;
  /** In words, for a screen reader and for the tooltip's first line. */
  readonly words: string;
  readonly colour: 'normal' | 'warning' | 'error';
}

/** Characters of a model's name in the status bar. */
const NAME_CHARS = 28;
/** Errors that mean that there is no model, rather than that something is broken. */
const NO_MODEL = new Set(['ModelNotConfigured', 'ModelNotFound']);

export function statusOf(input: StatusInput): Status {
  const { snapshot } = input;
  switch (input.state) {
    case 'failed':
      return status('error', '$(error) botframework', `error: ${input.failure ?? 'the daemon does not run'}`, 'error');
    case 'stopped':
      return status('off', '$(circle-slash) stopped', 'stopped');
    case 'starting':
      return status('starting', '$(loading~spin) starting', 'starting');
    case 'restarting':
      return status('starting', '$(loading~spin) restarting', 'the daemon ended and is started again');
    case 'running':
      return snapshot === undefined
        ? status('starting', '$(loading~spin) starting', 'starting')
        : withDownloads(running(input, snapshot), snapshot.downloads);
  }
}

function running(input: StatusInput, snapshot: Snapshot): Status {
  switch (snapshot.state) {
    case 'starting':
      return status('starting', '$(loading~spin) starting', 'starting');
    case 'restarting':
      return status('starting', '$(loading~spin) restarting', 'the worker ended and is started again');
    case 'loading': {
      const percent = Math.floor(snapshot.loadPercent);
      return status('loading', `$(loading~spin) loading ${percent} %`, `loading ${shortName(snapshot)}, ${percent} %`);
    }
    case 'stopped':
      return status('noModel', '$(circle-slash) no model', 'no model is loaded', 'warning');
    case 'sleeping': {
      const name = shortName(snapshot);
      return status('sleeping', `$(circle-outline) ${name}`, `${name} is loaded when it is needed`);
    }
    case 'error': {
      const message = snapshot.error?.message ?? 'the model cannot be used';
      return NO_MODEL.has(snapshot.error?.kind ?? '')
        ? status('noModel', '$(circle-slash) no model', `no model: ${message}`, 'warning')
        : status('error', '$(error) error', `error: ${message}`, 'error');
    }
    case 'ready':
    case 'paused':
      return serving(input, snapshot);
  }
}

function serving(input: StatusInput, snapshot: Snapshot): Status {
  const name = shortName(snapshot);
  if (input.minutesLeft !== undefined) {
    return status(
      'paused',
      `$(debug-pause) ${input.minutesLeft} min`,
      `snoozed for ${minutes(input.minutesLeft)}, ${name}`,
    );
  }
  if (input.isPaused || snapshot.state === 'paused') {
    return status('paused', `$(debug-pause) ${name}`, `paused, ${name}`);
  }
  if (input.switchedOffFor !== undefined) {
    return status('off', `$(circle-slash) ${name}`, `off for ${input.switchedOffFor}, ${name}`);
  }
  const rate = snapshot.tokensPerSecond;
  const figure = rate > 0 ? ` ${perSecond(rate)} tok/s` : '';
  const spoken = rate > 0 ? `, ${perSecond(rate)} tokens per second` : '';
  return snapshot.running + snapshot.queued > 0
    ? status('busy', `$(sync~spin) ${name}${figure}`, `busy, ${name}${spoken}`)
    : status('ready', `$(sparkle) ${name}${figure}`, `ready, ${name}${spoken}`);
}

/** A download is seen beside whatever else goes on. */
function withDownloads(status: Status, downloads: readonly Download[]): Status {
  if (downloads.length === 0) {
    return status;
  }
  const percent = downloadedPercent(downloads);
  const figure = percent === undefined ? '' : ` ${percent} %`;
  const what = downloads.length === 1 ? 'a model' : `${downloads.length} models`;
  return {
    ...status,
    text: `${status.text} $(cloud-download)${figure}`,
    words: `${status.words}, downloading ${what}${percent === undefined ? '' : `, ${percent} %`}`,
  };
}

/** Of all of them together; undefined while the size of one is not known. */
function downloadedPercent(downloads: readonly Download[]): number | undefined {
  let done = 0;
  let total = 0;
  for (const { doneBytes, totalBytes } of downloads) {
    if (totalBytes === null || totalBytes === 0) {
      return undefined;
    }
    done += doneBytes;
    total += totalBytes;
  }
  return Math.floor((100 * done) / total);
}

function status(state: StatusState, text: string, words: string, colour: Status['colour'] = 'normal'): Status {
  return { state, text, words, colour };
}

/** Icons in a model's name would be drawn. */
function shortName(snapshot: Snapshot): string {
  const name = snapshot.modelName.replaceAll('$(', '(') || 'model';
  return name.length > NAME_CHARS ? `${name.slice(0, NAME_CHARS - 1)}…` : name;
}

export function perSecond(rate: number): string {
  return rate < 10 ? rate.toFixed(1) : String(Math.round(rate));
}

export function minutes(count: number): string {
  return count === 1 ? '1 minute' : `${count} minutes`;
}
