/** The first exchange with a program that may not be the daemon at all. */
import type { InitializeResult, LanguageClient } from 'vscode-languageclient/node';

import type { Failure } from '../api.ts';
import { protocolVersion } from '../protocol.ts';
import { notTheDaemon, wrongVersion, type Exit } from './failures.ts';
import type { DaemonProcess } from './process.ts';

/** Milliseconds to the answer of `initialize`: the daemon needs 0.3 s, a cold disk and a virus scanner much more. */
export const HANDSHAKE_MS = 30_000;
/** What every message of the protocol begins with; header names may have any case. */
const BEGINNING = 'content-';

export type Handshake =
  | { readonly started: true }
  /** It answered with an error, or with something that is no message. */
  | { readonly refused: true }
  | { readonly exit: Exit }
  | 'silent';

export async function shakeHands(client: LanguageClient, daemon: DaemonProcess): Promise<Handshake> {
  const babbling = new Promise<Handshake>((resolve) => {
    daemon.child.stdout.once('data', (bytes: Buffer) => {
      if (!looksLikeMessage(bytes)) {
        resolve({ refused: true });
      }
    });
  });
  const started = client.start().then(
    (): Handshake => ({ started: true }),
    (): Handshake => ({ refused: true }),
  );
  const ended = daemon.exited.then((exit): Handshake => ({ exit }));
  return (await within(HANDSHAKE_MS, Promise.race([started, babbling, ended]))) ?? 'silent';
}

/** The client's reader waits for the end of a header for ever, and a usage text has none. */
export function looksLikeMessage(bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes.subarray(0, BEGINNING.length)).toString('latin1').toLowerCase();
  return BEGINNING.startsWith(text);
}

/** Why this extension cannot talk to the program that answered; undefined: it can. */
export function wrongPartner(file: string, answer: InitializeResult | undefined): Failure | undefined {
  const name = answer?.serverInfo?.name ?? '';
  if (name !== 'botframework') {
    return notTheDaemon(file, name);
  }
  const experimental = answer?.capabilities.experimental as
    { botframework?: { protocolVersion?: unknown } } | undefined;
  const spoken = experimental?.botframework?.protocolVersion;
  return spoken === protocolVersion
    ? undefined
    : wrongVersion(answer?.serverInfo?.version ?? '?', spoken, protocolVersion);
}

/** The value, or undefined when it takes longer. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await Promise.race([
      promise,
      new Promise<undefined>((resolve) => {
        timer = setTimeout(() => {
          resolve(undefined);
        }, ms);
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
