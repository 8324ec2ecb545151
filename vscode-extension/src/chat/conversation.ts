/** What a conversation is, and the limits of one. Pure. */

/**
 * Turns of one conversation. Each becomes two messages, and PROTOCOL.md allows 1,024; a model that runs beside an editor
 * has long forgotten the first ones by then.
 */
export const MAX_TURNS = 200;
/**
 * Characters of one conversation, contexts included. It is written to the workspace's storage as a whole, and some 100,000
 * tokens are more than the context of any model that is likely here.
 */
export const MAX_CONVERSATION_CHARACTERS = 400_000;
/** Characters of one question: as many as PROTOCOL.md allows an instruction to have. */
export const MAX_QUESTION_CHARACTERS = 32_768;
/** Characters of a title: what a narrow view shows in one line. */
export const MAX_TITLE_CHARACTERS = 60;

/** A piece of a document that goes with a question. */
export interface Attachment {
  readonly uri: string;
  /** As in `main.py:3-9`, or `main.py` for a whole file. */
  readonly label: string;
  readonly languageId: string;
  readonly text: string;
  /** Whether `text` is only the beginning, because of the limit. */
  readonly isCut: boolean;
  /** The whole file: its text is taken anew when the question is sent. */
  readonly isWholeFile: boolean;
}

/**
 * - `running`: it is being written
 * - `done`: the model ended it
 * - `stopped`: the user did, or the window was closed
 * - `failed`: {@link Answer.problem} says why
 */
export type AnswerState = 'running' | 'done' | 'stopped' | 'failed';

export interface Answer {
  text: string;
  state: AnswerState;
  /** A sentence about an answer that is there but not whole; empty if there is nothing to say. */
  note: string;
  /** A sentence with the next step, in the state `failed`; else empty. */
  problem: string;
}

/** A question and its answer. */
export interface Turn {
  readonly id: string;
  readonly question: string;
  readonly attachments: readonly Attachment[];
  answer: Answer;
}

export interface Conversation {
  readonly id: string;
  title: string;
  /** Milliseconds since 1970. */
  changedAt: number;
  readonly turns: Turn[];
}

export function freshAnswer(): Answer {
  return { text: '', state: 'running', note: '', problem: '' };
}

/** Characters that the conversation takes in storage, as far as they can grow. */
export function sizeOf(conversation: Conversation): number {
  return conversation.turns.reduce((sum, turn) => sum + sizeOfTurn(turn), conversation.title.length);
}

function sizeOfTurn(turn: Turn): number {
  const attached = turn.attachments.reduce((sum, attachment) => sum + attachment.text.length, 0);
  return turn.question.length + attached + turn.answer.text.length;
}

/** The first line of a question, shortened. */
export function titleFrom(question: string): string {
  const line = question.trim().split(/\r\n|\r|\n/, 1)[0] ?? '';
  return shortened(line.replace(/\s+/g, ' ')) || 'New conversation';
}

/** A title as the user typed it, made fit; empty if nothing is left. */
export function shortened(title: string): string {
  const trimmed = title.trim();
  // By code points, so that no emoji is cut in two.
  const points = Array.from(trimmed);
  return points.length <= MAX_TITLE_CHARACTERS
    ? trimmed
    : `${points
        .slice(0, MAX_TITLE_CHARACTERS - 1)
        .join('')
        .trimEnd()}…`;
}

/** Why a question cannot be sent in this conversation; undefined if it can. */
export function whyNotAsk(conversation: Conversation, question: string): string | undefined {
  if (question.trim() === '') {
    return 'Write a message first.';
  }
  if (question.length > MAX_QUESTION_CHARACTERS) {
    return `A message may have ${String(MAX_QUESTION_CHARACTERS)} characters; this one has ${String(question.length)}. Shorten it.`;
  }
  if (conversation.turns.some((turn) => turn.answer.state === 'running')) {
    return 'The last answer is still being written. Stop it, or wait for its end.';
  }
  if (conversation.turns.length >= MAX_TURNS || sizeOf(conversation) >= MAX_CONVERSATION_CHARACTERS) {
    return 'This conversation is full. Start a new one.';
  }
  return undefined;
}
