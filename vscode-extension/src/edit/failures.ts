/** What a failed request says to the user, with the next step. Pure. */
import { DaemonError } from '../api.ts';

/** One sentence or two about an error; never a stack trace. */
export function explain(error: unknown): string {
  if (!(error instanceof DaemonError)) {
    return 'Something went wrong in the extension. Retry; if it happens again, its log tells more.';
  }
  switch (error.kind) {
    case 'ModelLoading':
      return `The model is still loading${percent(error.data)}. Retry in a moment.`;
    case 'ModelNotConfigured':
      return 'No model is loaded. Choose one with the command “botframework: Select Model…”, then retry.';
    case 'ServerBusy':
      return 'The model has too much to do at the moment. Retry in a moment.';
    case 'DeadlineExceeded':
      return 'The model did not begin in time. Retry, or ask for less.';
    case 'ContextOverflow':
      return `${sentence(error.message)} Take away some of the context, or ask for less.`;
    case 'ContentModified':
      return 'The text was changed where the new one would have gone. Nothing was replaced; retry if you still want it.';
    case 'WorkerCrashed':
      return 'The model’s process ended while it was answering. It is started again; then retry.';
    case 'WorkerUnavailable':
      return 'The model’s process ended too often. Use the command “botframework: Restart”, then retry.';
    default:
      return sentence(error.message) || 'The request failed. Retry.';
  }
}

function percent(data: unknown): string {
  const fraction = (data as { fraction?: unknown } | null | undefined)?.fraction;
  return typeof fraction === 'number' && fraction > 0 && fraction <= 1
    ? ` (${String(Math.round(fraction * 100))} %)`
    : '';
}

function sentence(message: string): string {
  const trimmed = message.trim();
  if (trimmed === '') {
    return '';
  }
  const begun = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
