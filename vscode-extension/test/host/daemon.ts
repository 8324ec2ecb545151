/** The daemon seen from the test: what the extension exports, and the journal of the fake router behind it. */
import { readFile } from 'node:fs/promises';

import * as vscode from 'vscode';

import type { Api, DaemonSession } from '../../src/api.ts';
import { until } from './suite.ts';

/** One line of the journal: `tests/support/fake_daemon.py`. */
export interface Entry {
  readonly event: string;
  readonly [key: string]: unknown;
}

/** The default of `completion.maxTokens`. */
export const DEFAULT_TOKENS = 256;

export function extension(): vscode.Extension<Api> {
  const found = vscode.extensions.getExtension<Api>('botframework.botframework');
  if (found === undefined) {
    throw new Error('the extension is not installed');
  }
  return found;
}

/** The session, once it runs and its model is ready. */
export async function ready(): Promise<DaemonSession> {
  const { session, started } = await extension().activate();
  await started;
  await until(() => session.state === 'running' && session.snapshot?.state === 'ready');
  return session;
}

export async function journal(): Promise<Entry[]> {
  const text = await readFile(process.env['BOTFRAMEWORK_HOST_JOURNAL'] ?? '', 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Entry);
}

/** How often a daemon was started. */
export async function starts(): Promise<number> {
  return (await journal()).filter((entry) => entry.event === 'settings').length;
}

/** The process that was started last. */
export async function pid(): Promise<number> {
  const last = (await journal()).findLast((entry) => entry.event === 'settings');
  return Number(last?.['pid']);
}

/** How many tokens the last request asked for; the journal leaves out what is the default. */
export async function askedTokens(): Promise<number> {
  const last = (await journal()).findLast((entry) => entry.event === 'request');
  const request = last?.['request'] as { max_tokens?: number } | undefined;
  return request?.max_tokens ?? DEFAULT_TOKENS;
}

/** Ask for a completion outside of any document; what it was asked with is in the journal. */
export async function complete(session: DaemonSession): Promise<void> {
  await session.request('botframework/complete', { prefix: 'tokens=1', suffix: '' });
}

/** Change a setting of the user's, and take the change back at the end. */
export async function withSetting(key: string, value: unknown, body: () => Promise<void>): Promise<void> {
  const configuration = () => vscode.workspace.getConfiguration('botframework');
  const before = configuration().inspect(key)?.globalValue;
  await configuration().update(key, value, vscode.ConfigurationTarget.Global);
  try {
    await body();
  } finally {
    await configuration().update(key, before, vscode.ConfigurationTarget.Global);
  }
}
