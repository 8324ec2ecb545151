/** What the extension and the chat's page say to each other. Pure. */
import type { Answer, Turn } from './conversation.ts';

/** Characters of one message from the page: a whole answer may come back to be copied. */
const MAX_MESSAGE_CHARACTERS = 1_000_000;

/** A turn, without the text of what went with it. */
export interface ShownTurn {
  readonly id: string;
  readonly question: string;
  readonly attachments: readonly string[];
  readonly answer: Answer;
}

/** A piece of context that will go with the next question. */
export interface Chip {
  readonly id: string;
  readonly label: string;
  /** More about it, such as that it was cut; may be empty. */
  readonly detail: string;
}

export type ToPage =
  /** Show this conversation from its beginning. */
  | { readonly type: 'show'; readonly conversation: string; readonly turns: readonly ShownTurn[] }
  /** A turn is new, or its answer has another state. */
  | { readonly type: 'turn'; readonly turn: ShownTurn }
  /** More text of the answer that is being written. */
  | { readonly type: 'text'; readonly turn: string; readonly text: string }
  /** The context of the next question, and what could be added to it; empty: nothing. */
  | { readonly type: 'context'; readonly chips: readonly Chip[]; readonly selection: string; readonly file: string }
  /** Something could not be done; empty: it is over. */
  | { readonly type: 'notice'; readonly text: string }
  /** The question was taken: the input may be emptied. */
  | { readonly type: 'taken' }
  /** Put the cursor into the input. */
  | { readonly type: 'focus' };

export type ToExtension =
  | { readonly type: 'ready' }
  | { readonly type: 'send'; readonly text: string }
  | { readonly type: 'stop' }
  | { readonly type: 'retry'; readonly turn: string }
  | { readonly type: 'copy'; readonly text: string }
  | { readonly type: 'insert'; readonly text: string }
  | { readonly type: 'apply'; readonly text: string }
  | { readonly type: 'addSelection' }
  | { readonly type: 'addFile' }
  | { readonly type: 'remove'; readonly chip: string };

export function shownTurn(turn: Turn): ShownTurn {
  return {
    id: turn.id,
    question: turn.question,
    attachments: turn.attachments.map(({ label, isCut }) => (isCut ? `${label} (beginning)` : label)),
    answer: { ...turn.answer },
  };
}

/** What the page said; undefined if it is nothing that it may say. */
export function parseFromPage(value: unknown): ToExtension | undefined {
  if (typeof value !== 'object' || value === null) {
    return undefined;
  }
  const { type, text, turn, chip } = value as Record<string, unknown>;
  switch (type) {
    case 'ready':
    case 'stop':
    case 'addSelection':
    case 'addFile':
      return { type };
    case 'send':
    case 'copy':
    case 'insert':
    case 'apply':
      return isText(text) ? { type, text } : undefined;
    case 'retry':
      return isText(turn) ? { type, turn } : undefined;
    case 'remove':
      return isText(chip) ? { type, chip } : undefined;
    default:
      return undefined;
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_MESSAGE_CHARACTERS;
}
