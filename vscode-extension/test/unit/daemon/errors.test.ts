/** A failed request has a kind that PROTOCOL.md names, or one of three of our own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DaemonError } from '../../../src/api.ts';
import { toDaemonError } from '../../../src/daemon/errors.ts';

test('an error of the daemon keeps kind, code, message and data', () => {
  const data = { kind: 'ServerBusy', retryable: true, retryAfterMs: 5 };
  const error = toDaemonError({ code: -33001, message: 'queue full', data });

  assert.deepEqual([error.kind, error.code, error.message, error.data], ['ServerBusy', -33001, 'queue full', data]);
});

test('a broken connection is a daemon that died', () => {
  for (const gone of [
    { code: -32097, message: 'Pending response rejected since connection got disposed' },
    { code: -32096, message: 'Client is not running' },
    { code: 2, message: 'Connection is disposed.' },
    { code: 'EPIPE', message: 'write EPIPE' },
  ]) {
    assert.equal(toDaemonError(gone).kind, 'DaemonDied');
  }
});

test('a method that is not known means an old daemon', () => {
  assert.equal(toDaemonError({ code: -32601, message: 'no' }).kind, 'MethodNotFound');
});

test('a cancelled request says so, with data or without', () => {
  assert.ok(toDaemonError({ code: -32800, message: 'Request got cancelled' }).isCancelled);
});

test('anything else is told as it is, and nothing is lost', () => {
  const own = new DaemonError('DaemonUnavailable', 'none');

  assert.equal(toDaemonError(own), own);
  assert.deepEqual(
    [toDaemonError(new Error('odd')).kind, toDaemonError({}).message],
    ['Unexpected', 'The request failed.'],
  );
});
