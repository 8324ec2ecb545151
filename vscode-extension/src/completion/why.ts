/** "Why no suggestion?": the inspector's answer in words, and the exact prompt. Pure. */
import type { SessionState } from '../api.ts';
import type { InspectResult, Snapshot } from '../protocol.ts';

/** What the client itself knows. */
export interface Situation {
  /** The document's name, for the heading. */
  readonly name: string;
  readonly language: string;
  readonly isEnabled: boolean;
  readonly isPaused: boolean;
  readonly state: SessionState;
  /** Of the session, when its state is `failed`. */
  readonly failure: string | undefined;
  readonly snapshot: Snapshot | undefined;
  /** Undefined when the daemon could not be asked; `problem` then says why. */
  readonly answer: InspectResult | undefined;
  readonly problem: string | undefined;
}

const REASONS: Readonly<Record<Exclude<InspectResult['reason'], ''>, string>> = {
  notAsked:
    'The editor has not asked for a suggestion in this file yet, and never does in a read-only one. ' +
    'Type something, or run “Suggest Here”.',
  paused: 'Suggestions are paused.',
  disabled: 'The setting `botframework.completion.enabled` is off, or no language is enabled.',
  noModel: 'No model can answer now.',
  cancelled: 'The editor took the request back, because you went on typing or moved the cursor.',
  superseded: 'A newer request, or an edit elsewhere in the file, made it useless.',
  failed: 'The request ended with an error.',
  cutShort: 'The limit of tokens or time was reached before a whole line was there.',
  empty: 'The model thinks that nothing is missing here.',
  whitespaceOnly: 'The model suggested nothing but blanks and line ends.',
  equalsSuffixLine: 'The suggestion repeats what stands behind the cursor or in the next lines.',
  repeatsAbove: 'The suggestion repeats what stands just above.',
  onlyClosers: 'The suggestion is no more than two brackets, quotes or punctuation marks.',
  lowConfidence: 'The model is less certain than `botframework.completion.minLogprob` demands.',
};
const SOURCES: Readonly<Record<Exclude<InspectResult['source'], ''>, string>> = {
  model: 'the model, for this request',
  joined: 'an answer that was already under way while its text was being typed',
  cached: 'the rest of an earlier suggestion; the model was not asked',
  prefetched: 'a suggestion that was computed before the editor asked',
};

/** The page, as Markdown. */
export function page(situation: Situation): string {
  const { answer } = situation;
  return [
    `# Suggestions in ${situation.name}`,
    verdict(situation),
    ...(answer?.found === true ? [figures(answer), prompt(answer)] : []),
    '',
  ].join('\n\n');
}

/** The first thing that stands in the way, from the outside in. */
export function verdict(situation: Situation): string {
  const { answer, snapshot } = situation;
  if (situation.failure !== undefined) {
    return `There is no daemon. ${situation.failure}`;
  }
  if (!situation.isEnabled) {
    return (
      `Suggestions are switched off for ${situation.language}, by the setting \`botframework.enable\` or ` +
      '`botframework.completion.enabled`.'
    );
  }
  if (situation.isPaused) {
    return 'Suggestions are paused or snoozed. “Resume” ends that.';
  }
  if (snapshot?.error != null && snapshot.state === 'error') {
    return `No model can answer: ${snapshot.error.message}`;
  }
  if (answer === undefined) {
    return situation.problem ?? `The daemon cannot be asked now (${situation.state}). Try again in a moment.`;
  }
  if (answer.reason === '') {
    return answer.shown && answer.source !== ''
      ? `A suggestion was sent for the last request. It came from ${SOURCES[answer.source]}.`
      : 'A suggestion was sent for the last request.';
  }
  const words = REASONS[answer.reason];
  return answer.detail === '' ? words : `${words} (${answer.detail})`;
}

function figures(answer: InspectResult): string {
  const lines = [
    `- Prompt: ${answer.promptTokens} tokens, of which ${answer.cachedTokens} were known and ${answer.evaluatedTokens} had to be read.`,
    `- Layout: ${answer.order === 'psm' ? 'text before, text after, middle' : 'text after, text before, middle'}; ` +
      `what was typed stands ${answer.typed === 'after' ? 'after' : 'before'} the middle’s mark.`,
  ];
  if (answer.timings !== null) {
    const { queueMs, promptMs, firstTokenMs, decodeMs } = answer.timings;
    lines.push(
      `- Time: ${ms(queueMs)} waiting, ${ms(promptMs)} reading, first token after ${ms(firstTokenMs)}, ${ms(decodeMs)} writing.`,
    );
  }
  if (answer.isShort) {
    lines.push('- The window is the short one after a jump; it is widened when nobody types.');
  }
  if (answer.held !== '') {
    lines.push(`- The end of the last word, ${code(answer.held)}, was left out and demanded back from the model.`);
  }
  return lines.join('\n');
}

function prompt(answer: InspectResult): string {
  return `## The exact prompt\n\n${fenced(answer.prompt)}`;
}

function ms(value: number): string {
  return `${Math.round(value)} ms`;
}

/** A fence that nothing in the text can close. */
export function fenced(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map((run) => run[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}text\n${text}\n${fence}`;
}

function code(text: string): string {
  return fencedInline(JSON.stringify(text));
}

function fencedInline(text: string): string {
  return text.includes('`') ? `\`\` ${text} \`\`` : `\`${text}\``;
}
