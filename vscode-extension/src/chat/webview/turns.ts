/** The conversation in the page. */
import type { ShownTurn } from '../messages.ts';
import { AnswerText } from './answer.ts';
import type { CodeActions } from './code.ts';
import { button, make } from './code.ts';

/** What the buttons of a turn do. */
export interface TurnActions extends CodeActions {
  retry(turn: string): void;
}

/** How far from its end, in pixels, the conversation may be scrolled and still follow what is written. */
const NEAR_END_PX = 40;
/** Milliseconds between two looks at a growing answer, at least. */
const FRAME_MS = 30;
/** So many times as long as a look takes, none is taken. */
const REST = 4;

export class Turns {
  readonly #log: HTMLElement;
  readonly #empty: HTMLElement;
  readonly #actions: TurnActions;
  #views = new Map<string, TurnView>();

  constructor(log: HTMLElement, empty: HTMLElement, actions: TurnActions) {
    this.#log = log;
    this.#empty = empty;
    this.#actions = actions;
  }

  /** Whether an answer is being written. */
  get isRunning(): boolean {
    return [...this.#views.values()].some(({ turn }) => turn.answer.state === 'running');
  }

  show(turns: readonly ShownTurn[]): void {
    for (const view of this.#views.values()) {
      view.remove();
    }
    this.#views = new Map();
    for (const turn of turns) {
      this.update(turn);
    }
    this.#refresh();
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  update(turn: ShownTurn): void {
    this.#following(() => {
      const view = this.#views.get(turn.id);
      if (view !== undefined) {
        view.update(turn);
      } else {
        const added = new TurnView(turn, this.#actions);
        this.#views.set(turn.id, added);
        this.#log.append(added.question, added.answer);
      }
    });
    this.#refresh();
  }

  append(id: string, text: string): void {
    this.#views.get(id)?.append(text, (change) => {
      this.#following(change);
    });
  }

  /** What a screen reader is told of an answer: all of it, once it is there. */
  plainAnswer(id: string): string {
    return this.#views.get(id)?.plain ?? '';
  }

  #refresh(): void {
    this.#empty.hidden = this.#views.size > 0;
    this.#log.setAttribute('aria-busy', String(this.isRunning));
  }

  /** Do it and stay at the end if the end was in sight. */
  #following(change: () => void): void {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    change();
    if (isNear) {
      this.#log.scrollTop = this.#log.scrollHeight;
    }
  }
}

class TurnView {
  readonly question: HTMLElement;
  readonly answer: HTMLElement;
  readonly #text: AnswerText;
  readonly #below: HTMLElement;
  readonly #actions: TurnActions;
  #turn: ShownTurn;
  #markdown: string;
  #timer = 0;
  /** Milliseconds that the last look took: a long answer is looked at less often, so that the page stays quick. */
  #cost = 0;

  constructor(turn: ShownTurn, actions: TurnActions) {
    this.#turn = turn;
    this.#markdown = turn.answer.text;
    this.#actions = actions;
    this.question = article('user', 'You', `question-${turn.id}`);
    if (turn.attachments.length > 0) {
      const list = make('ul', 'chips');
      list.setAttribute('aria-label', 'Context');
      list.append(...turn.attachments.map((label) => make('li', '', label)));
      this.question.append(list);
    }
    this.question.append(make('div', 'text plain', turn.question));
    this.answer = article('assistant', 'botframework', `answer-${turn.id}`);
    const text = make('div', 'text');
    this.#below = make('div', 'below');
    this.answer.append(text, this.#below);
    this.#text = new AnswerText(text, actions);
    this.#render();
    this.#renderState();
  }

  get turn(): ShownTurn {
    return this.#turn;
  }

  get plain(): string {
    return this.#text.plain;
  }

  update(turn: ShownTurn): void {
    this.#turn = turn;
    this.#markdown = turn.answer.text;
    this.#render();
    this.#renderState();
  }

  /** More text; shown a little later, since several pieces may come within a frame. */
  append(text: string, wrap: (change: () => void) => void): void {
    this.#markdown += text;
    if (this.#timer === 0) {
      this.#timer = window.setTimeout(
        () => {
          wrap(() => {
            this.#render();
          });
        },
        Math.max(FRAME_MS, REST * this.#cost),
      );
    }
  }

  remove(): void {
    clearTimeout(this.#timer);
    this.question.remove();
    this.answer.remove();
  }

  #render(): void {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const started = performance.now();
    this.#text.update(this.#markdown);
    this.#cost = performance.now() - started;
  }

  #renderState(): void {
    const { state, note, problem, text } = this.#turn.answer;
    this.answer.dataset['state'] = state;
    const below: HTMLElement[] = [];
    if (state === 'running') {
      below.push(make('p', 'waiting', 'Answering…'));
    } else if (state === 'stopped') {
      below.push(make('p', 'note', 'Stopped.'));
    } else if (state === 'failed') {
      const line = make('div', 'error');
      line.append(
        make('p', '', problem),
        button('Retry', 'Retry', () => {
          this.#actions.retry(this.#turn.id);
        }),
      );
      below.push(line);
    }
    if (note !== '') {
      below.push(make('p', 'note', note));
    }
    if (state !== 'running' && text !== '') {
      below.push(
        button('Copy', 'Copy answer', () => {
          this.#actions.copy(this.#turn.answer.text);
        }),
      );
    }
    this.#below.replaceChildren(...below);
  }
}

function article(role: 'user' | 'assistant', name: string, id: string): HTMLElement {
  const node = make('article', '');
  node.dataset['role'] = role;
  const heading = make('h2', '', name);
  heading.id = id;
  node.setAttribute('aria-labelledby', id);
  node.append(heading);
  return node;
}
