/** What a download that failed says, and what can be done about it. Pure. */
import type { DaemonError } from '../api.ts';

export interface DownloadFailure {
  readonly message: string;
  /** What has arrived is kept, and a new attempt goes on there. */
  readonly canRetry: boolean;
  /** The page where a licence is accepted. */
  readonly page: string | undefined;
}

/** Pages of the hub only: nothing else that a message quotes is opened. */
const HUB_PAGE = /https:\/\/huggingface\.co\/[\w.\-/]*[\w-]/;

export function downloadFailure(error: DaemonError): DownloadFailure {
  const data = error.data as { retryable?: unknown } | null | undefined;
  return {
    message: error.message,
    canRetry: data?.retryable === true,
    page: error.kind === 'ModelGated' ? HUB_PAGE.exec(error.message)?.[0] : undefined,
  };
}
