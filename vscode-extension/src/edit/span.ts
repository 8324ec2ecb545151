/** A part of a document that moves with the text before it. Pure. */

/** Offsets in UTF-16 code units; `end` is behind the last one. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** One change of a document, as `vscode.TextDocumentContentChangeEvent` has it. */
export interface Change {
  readonly rangeOffset: number;
  readonly rangeLength: number;
  readonly text: string;
}

/** Where the span is after changes that happened at once, whose offsets are those of the text before all of them. */
export function moved(span: Span, changes: readonly Change[]): Span {
  // From the last one in the text to the first, none moves the place of another.
  return [...changes].sort((one, other) => other.rangeOffset - one.rangeOffset).reduce(movedByOne, span);
}

function movedByOne({ start, end }: Span, { rangeOffset, rangeLength, text }: Change): Span {
  const changeEnd = rangeOffset + rangeLength;
  const growth = text.length - rangeLength;
  if (changeEnd <= start) {
    return { start: start + growth, end: end + growth };
  }
  if (rangeOffset >= end) {
    return { start, end };
  }
  // It reaches into the span: what is new belongs to it, and whoever compares the text sees that it is another.
  return { start: Math.min(start, rangeOffset), end: Math.max(end, changeEnd) + growth };
}
