/**
 * For which machine a program file was built, from its first bytes.
 *
 * A foreign program does not always fail as such: on Linux `execvp` hands a file that the kernel refuses to `/bin/sh`,
 * which complains about the syntax.
 */

/** Bytes of a file that {@link builtFor} wants to see; fewer are fine. */
export const HEADER_BYTES = 4096;

/** A platform and the processors, both by Node's names; a processor that Node does not run on has another. */
export interface Target {
  readonly platform: 'linux' | 'darwin' | 'win32';
  readonly arches: readonly string[];
}

const ELF_MACHINES: Readonly<Record<number, string>> = {
  2: 'sparc',
  3: 'ia32',
  20: 'ppc',
  21: 'ppc64',
  22: 's390x',
  40: 'arm',
  43: 'sparc64',
  62: 'x64',
  183: 'arm64',
  243: 'riscv64',
  258: 'loong64',
};
const MACH_TYPES: Readonly<Record<number, string>> = { 0x01000007: 'x64', 0x0100000c: 'arm64', 7: 'ia32', 12: 'arm' };
const PE_MACHINES: Readonly<Record<number, string>> = { 0x14c: 'ia32', 0x8664: 'x64', 0xaa64: 'arm64', 0x1c4: 'arm' };

const MIPS = 8;

function mips(isLittleEndian: boolean): string {
  return isLittleEndian ? 'mipsel' : 'mips';
}

function named(names: Readonly<Record<number, string>>, machine: number): string {
  return names[machine] ?? `processor ${machine}`;
}

/** What the file was built for; undefined: a script, or nothing that is known here. */
export function builtFor(header: Uint8Array): Target | undefined {
  if (header.length < 20) {
    return undefined;
  }
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const magic = view.getUint32(0);
  if (magic === 0x7f454c46) {
    const isLittleEndian = view.getUint8(5) === 1;
    const machine = view.getUint16(18, isLittleEndian);
    return { platform: 'linux', arches: [machine === MIPS ? mips(isLittleEndian) : named(ELF_MACHINES, machine)] };
  }
  if (magic === 0xcffaedfe || magic === 0xcefaedfe) {
    return { platform: 'darwin', arches: [named(MACH_TYPES, view.getUint32(4, true))] };
  }
  if (magic === 0xcafebabe) {
    return fatBinary(view);
  }
  if (view.getUint16(0) === 0x4d5a && header.length >= 64) {
    const offset = view.getUint32(60, true);
    if (offset + 6 <= header.length && view.getUint32(offset) === 0x50450000) {
      return { platform: 'win32', arches: [named(PE_MACHINES, view.getUint16(offset + 4, true))] };
    }
  }
  return undefined;
}

/** A file for several processors. Java classes begin with the same bytes; their "count" is a large version number. */
function fatBinary(view: DataView): Target | undefined {
  const count = view.getUint32(4);
  if (count === 0 || count > 16 || 8 + count * 20 > view.byteLength) {
    return undefined;
  }
  const arches = Array.from({ length: count }, (_, i) => named(MACH_TYPES, view.getUint32(8 + i * 20)));
  return { platform: 'darwin', arches };
}

/** Whether a machine runs programs of that kind, by itself or by the translation that comes with it. */
export function runsOn(target: Target, platform: NodeJS.Platform, arch: string): boolean {
  if (target.platform !== platform && !(platform === 'freebsd' && target.platform === 'linux')) {
    return false;
  }
  const translated: Readonly<Record<string, readonly string[]>> = {
    // Rosetta; Windows on ARM runs both, and 64-bit Windows and Linux run 32-bit programs.
    'darwin/arm64': ['x64'],
    'win32/arm64': ['x64', 'ia32'],
    'win32/x64': ['ia32'],
    'linux/x64': ['ia32'],
  };
  const accepted = [arch, ...(translated[`${platform}/${arch}`] ?? [])];
  return target.arches.some((each) => accepted.includes(each));
}
