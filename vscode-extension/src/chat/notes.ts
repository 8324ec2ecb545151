/** What there is to say about an answer that came, but not whole. Pure. */
import type { ChatResult } from '../protocol.ts';

/** Empty if it is whole. */
export function noteOf({
  finishReason,
  droppedMessages,
}: Pick<ChatResult, 'finishReason' | 'droppedMessages'>): string {
  const notes: string[] = [];
  if (finishReason === 'length') {
    notes.push('The answer was cut at its limit of tokens (botframework.chat.maxTokens, or what the context holds).');
  } else if (finishReason === 'deadline') {
    notes.push('The answer was cut at its limit of time (botframework.chat.deadlineMs).');
  }
  if (droppedMessages > 0) {
    notes.push(
      droppedMessages === 1
        ? 'The oldest message no longer fits the model’s context and was left out.'
        : `The ${String(droppedMessages)} oldest messages no longer fit the model’s context and were left out.`,
    );
  }
  return notes.join(' ');
}
