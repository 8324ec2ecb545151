/** One start: from the search for the daemon to its answer, or to the reason why there is none. */
import type { LogOutputChannel } from 'vscode';
import type { LanguageClient, Middleware } from 'vscode-languageclient/node';

import type { Failure } from '../api.ts';
import type { Snapshot } from '../protocol.ts';
import { createClient } from './client.ts';
import { Connection } from './connection.ts';
import * as failures from './failures.ts';
import type { Command } from './find.ts';
import { HANDSHAKE_MS, shakeHands, within, wrongPartner } from './handshake.ts';
import { readLine } from './log.ts';
import { inspectProgram } from './machine.ts';
import { start, type DaemonProcess } from './process.ts';

/** Milliseconds to wait for the exit of a process whose answer was none. */
const EXIT_MS = 500;

export interface LaunchOptions {
  readonly channel: LogOutputChannel;
  readonly middleware: Middleware;
  /** Where the process starts; no folder of the workspace. */
  readonly cwd: string;
  /** Search anew. */
  readonly locate: () => Promise<Command | Failure>;
  readonly initializationOptions: () => object;
}

/** What happens on the way. */
export interface LaunchEvents {
  readonly onProcess: (process: DaemonProcess) => void;
  readonly onHeartbeat: (snapshot: Snapshot) => void;
}

export type Launched =
  | { readonly connection: Connection }
  /** There is no point in trying again. */
  | { readonly failure: Failure }
  /** It ended before it answered. */
  | { readonly exit: failures.Exit; readonly lastLines: readonly string[] };

/** No process is left unless there is a connection. Never rejects for reasons that lie in the program. */
export async function launch(options: LaunchOptions, events: LaunchEvents): Promise<Launched> {
  const { channel } = options;
  const found = await options.locate();
  if ('kind' in found) {
    return { failure: found };
  }
  const { command } = found;
  const refused = await inspectProgram(command);
  if (refused !== undefined) {
    return { failure: refused };
  }
  const args = [...found.args, '--stdio', `--clientProcessId=${process.pid}`];
  channel.info(`Starting ${command} ${args.join(' ')} (${found.origin})`);
  let daemon: DaemonProcess;
  try {
    daemon = await start(command, args, options.cwd, (line) => {
      const { level, text } = readLine(line);
      channel[level](text);
    });
  } catch (error) {
    const here = `${process.platform} on ${process.arch}`;
    return { failure: failures.cannotSpawn(command, (error as NodeJS.ErrnoException).code, here) };
  }
  events.onProcess(daemon);
  const client = createClient(daemon.child, channel, options.initializationOptions(), options.middleware);
  client.onNotification('$/botframework/heartbeat', events.onHeartbeat);
  return meet(command, client, daemon);
}

async function meet(command: string, client: LanguageClient, daemon: DaemonProcess): Promise<Launched> {
  const outcome = await shakeHands(client, daemon);
  if (outcome === 'silent') {
    await daemon.end(0);
    return { failure: failures.silent(command, HANDSHAKE_MS / 1_000) };
  }
  if ('started' in outcome) {
    const connection = new Connection(client, daemon);
    const wrong = wrongPartner(command, client.initializeResult);
    if (wrong === undefined) {
      return { connection };
    }
    await connection.end();
    return { failure: wrong };
  }
  const exit = 'exit' in outcome ? outcome.exit : await within(EXIT_MS, daemon.exited);
  if (exit === undefined || (exit.code === 0 && daemon.lastLines().length === 0)) {
    await daemon.end(0);
    return { failure: failures.notTheDaemon(command, '') };
  }
  return { exit, lastLines: daemon.lastLines() };
}
