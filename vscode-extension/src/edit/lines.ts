/** Which lines an edit takes away and which it brings. Pure. */
import { diffArrays } from 'diff';

/**
 * - `same`: stays
 * - `deleted`: goes
 * - `inserted`: comes
 * - `pending`: stands behind what is written so far; nobody knows yet
 */
export type LineState = 'same' | 'deleted' | 'inserted' | 'pending';

export interface Line {
  readonly text: string;
  readonly state: LineState;
}

/**
 * Milliseconds after which no smaller difference is looked for. It is computed anew several times a second while an edit is
 * written, and the shortest one of two texts that have little in common can take long to find.
 */
const MAX_DIFF_MS = 50;

const LINE_END = /\r\n|\r|\n/;

export function splitLines(text: string): string[] {
  return text.split(LINE_END);
}

/**
 * The lines of both texts in one order: what goes stands before what comes in its place.
 *
 * @param isWhole - false while the new text is still growing: old lines behind its end are `pending` then
 */
export function mergedLines(old: readonly string[], fresh: readonly string[], isWhole: boolean): Line[] {
  const parts = diffArrays([...old], [...fresh], { timeout: MAX_DIFF_MS });
  if (parts === undefined) {
    return settled([...withState(old, 'deleted'), ...withState(fresh, 'inserted')], isWhole);
  }
  return settled(
    parts.flatMap(({ value, added, removed }) => withState(value, added ? 'inserted' : removed ? 'deleted' : 'same')),
    isWhole,
  );
}

/** How many lines come and go. */
export function countChanges(lines: readonly Line[]): { readonly inserted: number; readonly deleted: number } {
  const count = (state: LineState): number => lines.filter((line) => line.state === state).length;
  return { inserted: count('inserted'), deleted: count('deleted') };
}

/** The new text's lines alone. */
export function freshLines(lines: readonly Line[]): string[] {
  return lines.filter(({ state }) => state === 'same' || state === 'inserted').map(({ text }) => text);
}

function withState(texts: readonly string[], state: LineState): Line[] {
  return texts.map((text) => ({ text, state }));
}

/** Within each change what goes comes first; of a growing text, the last change takes no more lines than it brings. */
function settled(lines: readonly Line[], isWhole: boolean): Line[] {
  const ordered: Line[] = [];
  let deleted: Line[] = [];
  let inserted: Line[] = [];
  for (const line of lines) {
    if (line.state === 'same') {
      ordered.push(...deleted, ...inserted, line);
      deleted = [];
      inserted = [];
    } else {
      (line.state === 'deleted' ? deleted : inserted).push(line);
    }
  }
  const reached = isWhole ? deleted.length : Math.min(deleted.length, inserted.length);
  const pending = deleted.slice(reached).map(({ text }): Line => ({ text, state: 'pending' }));
  return [...ordered, ...deleted.slice(0, reached), ...inserted, ...pending];
}
