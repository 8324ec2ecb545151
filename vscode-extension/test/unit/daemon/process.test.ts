/** The daemon's process: it starts or says why not, its last words are kept, and its end is certain. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { inspectProgram, isFile } from '../../../src/daemon/machine.ts';
import { KEPT_LINES, start, type DaemonProcess } from '../../../src/daemon/process.ts';

const DEADLINE = { timeout: 20_000 };
let folder = '';

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'botframework-'));
});

after(async () => {
  await rm(folder, { recursive: true });
});

/** A process that runs this program. */
function node(program: string, onLine: (line: string) => void = () => undefined): Promise<DaemonProcess> {
  return start(process.execPath, ['-e', program], folder, onLine);
}

function isAlive(pid: number | undefined): boolean {
  try {
    return process.kill(pid ?? 0, 0);
  } catch {
    return false;
  }
}

test('the last lines of standard error are there when the end is told', DEADLINE, async () => {
  const seen: string[] = [];
  const daemon = await node('for (let i = 0; i < 100; i++) console.error("line " + i); process.exitCode = 3', (line) =>
    seen.push(line),
  );
  const exit = await daemon.exited;

  assert.deepEqual(exit, { code: 3, signal: null });
  assert.equal(seen.length, 100);
  assert.equal(daemon.lastLines().length, KEPT_LINES);
  assert.equal(daemon.lastLines().at(-1), 'line 99');
});

test('a process that ignores everything is gone after the grace', DEADLINE, async () => {
  const daemon = await node('process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log("ready")');
  await once(daemon.child.stdout, 'data');
  const exit = await daemon.end(50);

  assert.equal(exit.signal, 'SIGKILL');
  assert.ok(!isAlive(daemon.child.pid));
});

test('a process that ends by itself is not killed', DEADLINE, async () => {
  const daemon = await node('process.stdin.resume()');
  daemon.child.stdin.end();

  assert.deepEqual(await daemon.end(15_000), { code: 0, signal: null });
});

test('a child that keeps the pipes open does not hide the end', DEADLINE, async () => {
  const daemon = await node(
    'const c = require("child_process").spawn(process.execPath, ["-e", "setTimeout(() => {}, 5000)"], {stdio: "inherit", detached: true});' +
      'console.log(c.pid); c.unref(); process.exit(0)',
  );
  const [said] = (await once(daemon.child.stdout, 'data')) as [Buffer];
  const exit = await daemon.exited;
  process.kill(Number(said.toString()), 'SIGKILL');

  assert.equal(exit.code, 0);
});

test('writing to a process that is gone raises nothing', DEADLINE, async () => {
  const daemon = await node('process.exit(0)');
  await daemon.exited;
  daemon.child.stdin.write('x');

  assert.deepEqual(await daemon.end(10), { code: 0, signal: null });
});

test('a program that is not there is an error with its code', DEADLINE, async () => {
  await assert.rejects(
    start(join(folder, 'gone'), [], folder, () => undefined),
    { code: 'ENOENT' },
  );
});

test('files are looked at before they are started', { ...DEADLINE, skip: process.platform === 'win32' }, async () => {
  const plain = join(folder, 'plain');
  const foreign = join(folder, 'foreign');
  await writeFile(plain, '#!/bin/sh\n');
  const header = new Uint8Array(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  header[18] = process.arch === 's390x' ? 62 : 22;
  await writeFile(foreign, header);
  await chmod(foreign, 0o755);

  assert.equal((await inspectProgram(foreign))?.kind, 'wrongArchitecture');
  assert.equal((await inspectProgram(plain))?.kind, 'notExecutable');
  await chmod(plain, 0o755);
  assert.equal(await inspectProgram(plain), undefined);
  assert.deepEqual(
    [await isFile(plain), await isFile(folder), await isFile(join(folder, 'gone'))],
    [true, false, false],
  );
});
