/** What the model is told of a conversation. Pure. */
import type { ChatMessage } from '../protocol.ts';
import type { Attachment, Conversation, Turn } from './conversation.ts';

/**
 * Characters of one attachment: some 6,000 tokens of code, so that it fits a chat context of 8,192 (`engine.nCtxChat`)
 * beside a question and the beginning of an answer.
 */
export const MAX_ATTACHMENT_CHARACTERS = 20_000;
/** Attachments of one question: as many chips as a narrow view shows. */
export const MAX_ATTACHMENTS = 5;

/** The conversation up to and with the question of `last`; what was answered by nothing is left out. */
export function requestMessages(conversation: Conversation, last: Turn): ChatMessage[] {
  const messages: ChatMessage[] = [];
  for (const turn of conversation.turns) {
    if (turn === last) {
      messages.push({ role: 'user', content: asked(turn) });
      break;
    }
    // Many templates refuse two questions in a row.
    if (turn.answer.text !== '') {
      messages.push({ role: 'user', content: asked(turn) }, { role: 'assistant', content: turn.answer.text });
    }
  }
  return messages;
}

/** The question with what goes with it before it, since models attend best to what stands last. */
function asked(turn: Turn): string {
  return [...turn.attachments.map(quoted), turn.question].join('\n\n');
}

function quoted(attachment: Attachment): string {
  const fence = '`'.repeat(Math.max(3, longestRun(attachment.text, '`') + 1));
  const part = attachment.isCut ? `The beginning of ${attachment.label}` : attachment.label;
  const end = attachment.text.endsWith('\n') ? '' : '\n';
  return `${part}:\n${fence}${attachment.languageId}\n${attachment.text}${end}${fence}`;
}

/** The beginning of a text, cut at a line end if there is one to cut at. */
export function cutToLimit(text: string, limit: number = MAX_ATTACHMENT_CHARACTERS): { text: string; isCut: boolean } {
  if (text.length <= limit) {
    return { text, isCut: false };
  }
  const lineEnd = text.lastIndexOf('\n', limit - 1);
  if (lineEnd >= 0) {
    return { text: text.slice(0, lineEnd + 1), isCut: true };
  }
  // One huge line: not between the halves of a surrogate pair.
  const isHigh = /[\uD800-\uDBFF]/.test(text.charAt(limit - 1));
  return { text: text.slice(0, isHigh ? limit - 1 : limit), isCut: true };
}

/** As in `main.py:3-9`; lines count from 1. */
export function rangeLabel(name: string, firstLine: number, lastLine: number): string {
  return firstLine === lastLine ? `${name}:${String(firstLine)}` : `${name}:${String(firstLine)}-${String(lastLine)}`;
}

function longestRun(text: string, character: string): number {
  let longest = 0;
  let run = 0;
  for (const one of text) {
    run = one === character ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}
