/** What failed is said in a sentence with a next step, never as a stack trace. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DaemonError } from '../../../src/api.ts';
import { explain } from '../../../src/edit/failures.ts';
import { errorCodes } from '../../../src/protocol.ts';
import type { ErrorKind } from '../../../src/protocol.ts';

test('loading says how far it is', () => {
  assert.equal(
    explain(new DaemonError('ModelLoading', 'loading', -33105, { fraction: 0.427 })),
    'The model is still loading (43 %). Retry in a moment.',
  );
  assert.equal(
    explain(new DaemonError('ModelLoading', 'loading', -33105, null)),
    'The model is still loading. Retry in a moment.',
  );
});

for (const kind of [...Object.keys(errorCodes), 'DaemonDied', 'DaemonUnavailable', 'FromTheFuture']) {
  test(`${kind} is told in whole sentences`, () => {
    const told = explain(new DaemonError(kind as ErrorKind, 'the daemon has its reasons', 0, { fraction: 'x' }));
    assert.match(told, /^[A-Z].*[.!?]$/s);
  });
}

test('an error of our own has no stack trace and no inner words', () => {
  const told = explain(new TypeError("cannot read properties of undefined (reading 'x')"));
  assert.doesNotMatch(told, /undefined|at /);
});

test('an error without words still says something', () => {
  assert.equal(explain(new DaemonError('Unexpected', '  ')), 'The request failed. Retry.');
});
