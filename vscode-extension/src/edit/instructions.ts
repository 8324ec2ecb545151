/** What the user has asked for before. Pure. */

/** Instructions that are remembered: as many as a list shows without scrolling far. */
export const MAX_REMEMBERED = 20;
/** Characters of an instruction; PROTOCOL.md allows as many. */
export const MAX_INSTRUCTION_CHARACTERS = 32_768;
/** Characters of a remembered one: longer texts are no phrases that anybody uses twice. */
const MAX_REMEMBERED_CHARACTERS = 1_000;

/** The list with the instruction at its beginning. */
export function remembered(list: readonly string[], instruction: string): string[] {
  if (instruction.length > MAX_REMEMBERED_CHARACTERS) {
    return [...list];
  }
  return [instruction, ...list.filter((other) => other !== instruction)].slice(0, MAX_REMEMBERED);
}

/** The list as storage gives it back: anything may stand there. */
export function parseRemembered(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string').slice(0, MAX_REMEMBERED) : [];
}
