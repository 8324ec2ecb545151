/** The daemon's log lines keep their level and lose the time that the channel writes anyway. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readLine } from '../../../src/daemon/log.ts';

test('a line of the log has a level', () => {
  assert.deepEqual(readLine('2026-11-21 12:00:00.123 WARNING 4711 botframework.cli: disk full'), {
    level: 'warn',
    text: 'botframework.cli: disk full',
  });
  assert.equal(readLine('2026-11-21 12:00:00.123 ERROR   4711 a: b').level, 'error');
});

test('any other line stays as it is', () => {
  for (const text of ['Traceback (most recent call last):', '', '  File "x.py", line 1']) {
    assert.deepEqual(readLine(text), { level: 'info', text });
  }
});
