/** A program that was built for another machine is known by its first bytes. */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { test } from 'node:test';

import { builtFor, HEADER_BYTES, runsOn, type Target } from '../../../src/daemon/binary.ts';

function elf(machine: number, littleEndian = true): Uint8Array {
  const bytes = new Uint8Array(64);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, littleEndian ? 1 : 2]);
  new DataView(bytes.buffer).setUint16(18, machine, littleEndian);
  return bytes;
}

function machO(type: number): Uint8Array {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xcffaedfe);
  view.setUint32(4, type, true);
  return bytes;
}

function fat(...types: number[]): Uint8Array {
  const bytes = new Uint8Array(8 + types.length * 20);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xcafebabe);
  view.setUint32(4, types.length);
  types.forEach((type, i) => {
    view.setUint32(8 + i * 20, type);
  });
  return bytes;
}

function pe(machine: number): Uint8Array {
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x4d5a);
  view.setUint32(60, 128, true);
  view.setUint32(128, 0x50450000);
  view.setUint16(132, machine, true);
  return bytes;
}

const CASES: readonly [string, Uint8Array, Target][] = [
  ['Linux on x64', elf(62), { platform: 'linux', arches: ['x64'] }],
  ['Linux on arm64', elf(183), { platform: 'linux', arches: ['arm64'] }],
  ['Linux on s390x, whose bytes are the other way round', elf(22, false), { platform: 'linux', arches: ['s390x'] }],
  ['Linux on a processor without a name', elf(9999), { platform: 'linux', arches: ['processor 9999'] }],
  ['Linux on mips, either way round', elf(8), { platform: 'linux', arches: ['mipsel'] }],
  ['macOS on arm64', machO(0x0100000c), { platform: 'darwin', arches: ['arm64'] }],
  ['macOS on both', fat(0x01000007, 0x0100000c), { platform: 'darwin', arches: ['x64', 'arm64'] }],
  ['Windows on x64', pe(0x8664), { platform: 'win32', arches: ['x64'] }],
];

for (const [name, header, target] of CASES) {
  test(`a program for ${name} is recognised`, () => {
    assert.deepEqual(builtFor(header), target);
  });
}

test('scripts, Java classes, broken and empty files are none of these', () => {
  const java = new Uint8Array(64);
  java.set([0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 65]);
  const outside = pe(0x8664);
  new DataView(outside.buffer).setUint32(60, 0xffffffff, true);

  for (const header of [
    new TextEncoder().encode('#!/usr/bin/env python3\n'),
    java,
    outside,
    new Uint8Array(),
    elf(62).subarray(0, 10),
  ]) {
    assert.equal(builtFor(header), undefined);
  }
});

test('the header of the running Node fits the running machine', async () => {
  const file = await open(process.execPath);
  try {
    const { buffer } = await file.read(new Uint8Array(HEADER_BYTES), 0, HEADER_BYTES, 0);
    const target = builtFor(buffer);

    assert.ok(target === undefined || runsOn(target, process.platform, process.arch));
  } finally {
    await file.close();
  }
});

test('a program runs where it was built for, or where that is translated', () => {
  const x64: Target = { platform: 'darwin', arches: ['x64'] };
  const arm64: Target = { platform: 'darwin', arches: ['arm64'] };

  assert.ok(runsOn(x64, 'darwin', 'x64'));
  assert.ok(runsOn(x64, 'darwin', 'arm64'));
  assert.ok(!runsOn(arm64, 'darwin', 'x64'));
  assert.ok(!runsOn({ platform: 'linux', arches: ['arm64'] }, 'linux', 'x64'));
  assert.ok(!runsOn({ platform: 'linux', arches: ['processor 9999'] }, 'linux', 'x64'));
  assert.ok(!runsOn({ platform: 'win32', arches: ['x64'] }, 'linux', 'x64'));
});
