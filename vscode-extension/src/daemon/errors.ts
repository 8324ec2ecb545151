/** What a failed request says, as a {@link DaemonError}. Pure. */
import { DaemonError } from '../api.ts';
import type { ErrorKind } from '../protocol.ts';

/** JSON-RPC codes that mean that there is nobody at the other end any more. */
const GONE = new Set([
  -32097, // vscode-jsonrpc: the connection was disposed while the answer was awaited
  -32099, // vscode-jsonrpc: the message could not be written
  -32096, // vscode-languageclient: not running
]);
const METHOD_NOT_FOUND = -32601;
const REQUEST_CANCELLED = -32800;

export function toDaemonError(error: unknown): DaemonError {
  if (error instanceof DaemonError) {
    return error;
  }
  const { code, message, data } = error as { code?: unknown; message?: unknown; data?: unknown };
  const text = typeof message === 'string' && message !== '' ? message : 'The request failed.';
  if (typeof code !== 'number') {
    // Errors of a closed connection have codes of their own, which are no JSON-RPC codes.
    return /connection (is|got) (closed|disposed)|write after end|EPIPE/i.test(text)
      ? died()
      : new DaemonError('Unexpected', text);
  }
  if (GONE.has(code) || (code > 0 && code < 10)) {
    return died();
  }
  if (code === METHOD_NOT_FOUND) {
    return new DaemonError('MethodNotFound', 'The daemon is older than this extension and does not know this.', code);
  }
  if (code === REQUEST_CANCELLED) {
    return new DaemonError('RequestCancelled', text, code, data);
  }
  const kind = (data as { kind?: unknown } | null | undefined)?.kind;
  return new DaemonError(typeof kind === 'string' ? (kind as ErrorKind) : 'Unexpected', text, code, data);
}

export function died(): DaemonError {
  return new DaemonError(
    'DaemonDied',
    'The daemon ended while it was answering. It is started again; then ask once more.',
  );
}
