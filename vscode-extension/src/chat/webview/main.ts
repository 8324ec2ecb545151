/** The chat's page: shows what the extension says, and says what the user does. */
import type { ShownTurn, ToExtension, ToPage } from '../messages.ts';
import { Composer, byId } from './composer.ts';
import { Turns } from './turns.ts';

/** Characters of an answer that a screen reader is told without being asked; the rest is in the conversation. */
const MAX_ANNOUNCED_CHARACTERS = 2_000;

interface PageState {
  readonly draft: string;
}

const vscode = acquireVsCodeApi();
const post = (message: ToExtension): void => {
  vscode.postMessage(message);
};
const keep = (draft: string): void => {
  vscode.setState({ draft } satisfies PageState);
};

const announcements = byId('announcements', HTMLDivElement);
const composer = new Composer(post, (vscode.getState() as PageState | undefined)?.draft ?? '', keep);
const turns = new Turns(byId('conversation', HTMLDivElement), byId('empty', HTMLParagraphElement), {
  copy(text) {
    // The page has the focus, which the clipboard asks for; the extension is the way if it is refused all the same.
    navigator.clipboard.writeText(text).then(
      () => {
        composer.notice('Copied.');
      },
      () => {
        post({ type: 'copy', text });
      },
    );
  },
  insert(text) {
    post({ type: 'insert', text });
  },
  apply(text) {
    post({ type: 'apply', text });
  },
  retry(turn) {
    post({ type: 'retry', turn });
    composer.focus();
  },
});

/** Said once at the beginning and once at the end: an answer that is read aloud token by token cannot be followed. */
function announce(turn: ShownTurn): void {
  const { state, problem, note } = turn.answer;
  if (state === 'running') {
    announcements.textContent = 'Answering.';
    return;
  }
  const plain = turns.plainAnswer(turn.id);
  const read = plain.length > MAX_ANNOUNCED_CHARACTERS ? `${plain.slice(0, MAX_ANNOUNCED_CHARACTERS)}…` : plain;
  announcements.textContent = [read, state === 'stopped' ? 'Stopped.' : '', note, problem]
    .filter((text) => text !== '')
    .join('\n');
}

window.addEventListener('message', ({ data }: MessageEvent<ToPage>) => {
  switch (data.type) {
    case 'show':
      turns.show(data.turns);
      composer.setRunning(turns.isRunning);
      composer.notice('');
      announcements.textContent = '';
      break;
    case 'turn':
      turns.update(data.turn);
      composer.setRunning(turns.isRunning);
      announce(data.turn);
      break;
    case 'text':
      turns.append(data.turn, data.text);
      break;
    case 'context':
      composer.setContext(data.chips, data.selection, data.file);
      break;
    case 'notice':
      composer.notice(data.text);
      break;
    case 'taken':
      composer.clear();
      keep('');
      break;
    case 'focus':
      composer.focus();
      break;
  }
});

post({ type: 'ready' });
