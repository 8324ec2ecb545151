/** The menu behind the status bar item: what can be done now, as commands. Pure. */
import type { Status } from './state.ts';

export interface MenuEntry {
  readonly label: string;
  readonly description?: string;
  readonly command: string;
}

export interface MenuInput {
  readonly status: Status;
  readonly isPaused: boolean;
  readonly isOn: boolean;
  /** Of the active document; undefined: there is none. */
  readonly language: string | undefined;
  readonly isOnForLanguage: boolean;
}

export function menuEntries(input: MenuInput): MenuEntry[] {
  const { language, status } = input;
  const isServing = ['ready', 'busy', 'sleeping', 'paused', 'off'].includes(status.state);
  const entries: (MenuEntry | false)[] = [
    { label: '$(package) Select model…', command: 'botframework.selectModel' },
    isServing && input.isPaused && { label: '$(play) Resume suggestions', command: 'botframework.resume' },
    isServing && !input.isPaused && { label: '$(debug-pause) Pause suggestions', command: 'botframework.pause' },
    isServing && !input.isPaused && { label: '$(bell-slash) Snooze suggestions…', command: 'botframework.snooze' },
    {
      label: input.isOn ? '$(circle-slash) Switch suggestions off' : '$(check) Switch suggestions on',
      description: 'in every language that is not set apart',
      command: 'botframework.toggle',
    },
    language !== undefined && {
      label: `${input.isOnForLanguage ? '$(circle-slash) Switch off' : '$(check) Switch on'} for ${language}`,
      command: 'botframework.toggleLanguage',
    },
    language !== undefined && { label: '$(question) Why no suggestion?', command: 'botframework.why' },
    { label: '$(comment-discussion) Open chat', command: 'botframework.chat.focus' },
    { label: '$(debug-restart) Restart', command: 'botframework.restart' },
    {
      label: '$(trash) Forget what was read',
      description: 'sessions and their snapshots',
      command: 'botframework.clearSessions',
    },
    { label: '$(output) Show log', command: 'botframework.showLog' },
    { label: '$(settings-gear) Open settings', command: 'botframework.openSettings' },
  ];
  return entries.filter((entry) => entry !== false);
}
