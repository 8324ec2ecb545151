/** A conversation in the workspace's storage, read back with suspicion: an older or newer version may have written it. Pure. */
import type { Answer, AnswerState, Attachment, Conversation, Turn } from './conversation.ts';

/** Raised when the shape changes so that an older version would misread it. */
export const STORED_VERSION = 1;

/** Characters of an id that we made, and of which kind: it is also the name of a file. */
const ID = /^[\w-]{1,64}$/;

/** A conversation as it is written: a copy, with nothing in it that goes on changing. */
export function toStored(conversation: Conversation): unknown {
  return structuredClone({ version: STORED_VERSION, ...conversation });
}

/** What was written; undefined if it is no conversation that this version understands. Parts of it may be left out. */
export function parseStored(value: unknown): Conversation | undefined {
  if (!isRecord(value) || value['version'] !== STORED_VERSION || !ID.test(text(value['id']))) {
    return undefined;
  }
  const changedAt = value['changedAt'];
  return {
    id: text(value['id']),
    title: text(value['title']) || 'Conversation',
    changedAt: typeof changedAt === 'number' && Number.isFinite(changedAt) ? changedAt : 0,
    turns: list(value['turns'], parseTurn),
  };
}

function parseTurn(value: unknown): Turn | undefined {
  if (!isRecord(value) || text(value['id']) === '') {
    return undefined;
  }
  return {
    id: text(value['id']),
    question: text(value['question']),
    attachments: list(value['attachments'], parseAttachment),
    answer: parseAnswer(value['answer']),
  };
}

function parseAttachment(value: unknown): Attachment | undefined {
  if (!isRecord(value)) {
    return undefined;
  }
  return {
    uri: text(value['uri']),
    label: text(value['label']),
    languageId: text(value['languageId']),
    text: text(value['text']),
    isCut: value['isCut'] === true,
    isWholeFile: value['isWholeFile'] === true,
  };
}

function parseAnswer(value: unknown): Answer {
  const answer = isRecord(value) ? value : {};
  const state = parseState(answer['state']);
  return {
    text: text(answer['text']),
    state,
    note: text(answer['note']),
    problem: state === 'failed' ? text(answer['problem']) : '',
  };
}

function parseState(value: unknown): AnswerState {
  // Nobody writes it any more: the window that asked is gone.
  return value === 'done' || value === 'failed' ? value : 'stopped';
}

function list<T>(value: unknown, parse: (item: unknown) => T | undefined): T[] {
  return Array.isArray(value) ? value.map(parse).filter((item) => item !== undefined) : [];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
