/** The box that asks what should be changed. */
import * as vscode from 'vscode';

import { MAX_INSTRUCTION_CHARACTERS, parseRemembered, remembered } from './instructions.ts';

const STORAGE_KEY = 'edit.instructions';

/** Ask; undefined when the user went away. The list below the box has what they asked for before. */
export function askInstruction(storage: vscode.Memento, what: string): Promise<string | undefined> {
  const earlier = parseRemembered(storage.get(STORAGE_KEY));
  const pick = vscode.window.createQuickPick();
  pick.title = 'Edit Selection';
  pick.placeholder = `What should be changed in ${what}?`;
  const refresh = (typed: string): void => {
    const past = earlier.filter((instruction) => instruction !== typed).map((label) => ({ label }));
    pick.items = typed === '' ? past : [{ label: typed, description: 'Enter', alwaysShow: true }, ...past];
    pick.title =
      typed.length > MAX_INSTRUCTION_CHARACTERS
        ? `Edit Selection: at most ${String(MAX_INSTRUCTION_CHARACTERS)} characters`
        : 'Edit Selection';
  };
  return new Promise((resolve) => {
    pick.onDidChangeValue((value) => {
      refresh(value.trim());
    });
    pick.onDidAccept(() => {
      // What is marked may lag behind fast typing: then it is none of the items of this moment, and the box counts.
      const marked = pick.activeItems.find((item) => pick.items.includes(item));
      const instruction = marked?.label ?? pick.value.trim();
      if (instruction !== '' && instruction.length <= MAX_INSTRUCTION_CHARACTERS) {
        resolve(instruction);
        pick.hide();
        void storage.update(STORAGE_KEY, remembered(earlier, instruction));
      }
    });
    pick.onDidHide(() => {
      resolve(undefined);
      pick.dispose();
    });
    refresh('');
    pick.show();
  });
}
