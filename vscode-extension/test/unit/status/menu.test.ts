/** The menu offers what can be done now, and every entry is a command of package.json. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { menuEntries, type MenuInput } from '../../../src/status/menu.ts';
import type { StatusState } from '../../../src/status/state.ts';

function input(state: StatusState, changes: Partial<MenuInput> = {}): MenuInput {
  const status = { state, text: '', words: '', colour: 'normal' } as const;
  return { status, isPaused: false, isOn: true, language: 'python', isOnForLanguage: true, ...changes };
}

function commands(given: MenuInput): string[] {
  return menuEntries(given).map((entry) => entry.command.replace('botframework.', ''));
}

test('every entry is a command that there is', () => {
  const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
    contributes: { commands: { command: string }[] };
  };
  // VS Code itself makes one for every view.
  const known = new Set([...manifest.contributes.commands.map(({ command }) => command), 'botframework.chat.focus']);
  for (const isPaused of [true, false]) {
    assert.deepEqual(
      menuEntries(input('ready', { isPaused })).filter(({ command }) => !known.has(command)),
      [],
    );
  }
});

test('what is always possible is always there: model, restart, log, settings', () => {
  for (const state of ['starting', 'loading', 'ready', 'busy', 'paused', 'off', 'noModel', 'error'] as const) {
    const offered = commands(input(state));
    for (const command of ['selectModel', 'restart', 'showLog', 'openSettings']) {
      assert.ok(offered.includes(command), `${command} while ${state}`);
    }
  }
});

test('pause and resume exclude each other, and need a daemon that serves', () => {
  const [ready, paused, error] = [input('ready'), input('paused', { isPaused: true }), input('error')].map(commands);

  assert.ok(ready?.includes('pause') && ready.includes('snooze') && !ready.includes('resume'));
  assert.ok(paused?.includes('resume') && !paused.includes('pause') && !paused.includes('snooze'));
  assert.ok(error !== undefined && !error.includes('pause') && !error.includes('resume'));
});

test('without a document there is nothing about its language', () => {
  const offered = commands(input('ready', { language: undefined }));

  assert.ok(!offered.includes('toggleLanguage') && !offered.includes('why'));
});
