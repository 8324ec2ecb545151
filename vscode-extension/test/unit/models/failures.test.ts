/** A download that failed says what can be done: try again, or accept the licence. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DaemonError } from '../../../src/api.ts';
import { downloadFailure } from '../../../src/models/failures.ts';

test('what may succeed later can be tried again', () => {
  const failed = new DaemonError('DownloadFailed', 'the server stalled', -33401, { retryable: true });
  const refused = new DaemonError('DigestMismatch', 'another file', -33402, { retryable: false });

  assert.deepEqual(downloadFailure(failed), { message: 'the server stalled', canRetry: true, page: undefined });
  assert.equal(downloadFailure(refused).canRetry, false);
  assert.equal(downloadFailure(new DaemonError('DaemonDied', 'gone')).canRetry, false);
});

test('the page of a gated model is opened, and no other', () => {
  const gated = (message: string) => downloadFailure(new DaemonError('ModelGated', message, -33403)).page;

  assert.equal(gated('accept it at https://huggingface.co/maker/model.'), 'https://huggingface.co/maker/model');
  assert.equal(gated('accept it at https://huggingface.co.evil.test/maker'), undefined);
  assert.equal(gated('accept it at http://huggingface.co/maker'), undefined);
  assert.equal(
    downloadFailure(new DaemonError('RemoteNotFound', 'not at https://huggingface.co/maker/model')).page,
    undefined,
  );
});
