/** The list of conversations: choose, rename, delete. */
import * as vscode from 'vscode';

import type { Conversation } from './conversation.ts';
import type { Conversations } from './conversations.ts';

const RENAME: vscode.QuickInputButton = { iconPath: new vscode.ThemeIcon('edit'), tooltip: 'Rename' };
const DELETE: vscode.QuickInputButton = { iconPath: new vscode.ThemeIcon('trash'), tooltip: 'Delete' };

/** The daemon's snapshots of a conversation cannot be deleted one by one. */
const GONE =
  'It cannot be brought back. What the model has read of it may be on disk for 14 days more; ' +
  '“Forget What Was Read” deletes that at once.';

interface Item extends vscode.QuickPickItem {
  readonly id: string;
}

/**
 * Show the list until the user has chosen one or gone away.
 *
 * @param onDelete - called before a conversation is deleted, so that its answer can be stopped
 * @param onChange - called after each change, so that it can be shown and written
 */
export function showHistory(conversations: Conversations, onDelete: (id: string) => void, onChange: () => void): void {
  const pick = vscode.window.createQuickPick<Item>();
  pick.title = 'Conversations';
  pick.placeholder = 'Choose a conversation to go on with';
  pick.matchOnDescription = true;
  const refresh = (): void => {
    pick.items = conversations
      .list()
      .map((conversation) => toItem(conversation, conversation === conversations.active));
    if (pick.items.length === 0) {
      pick.placeholder = 'There are no conversations yet';
    }
  };
  pick.onDidAccept(() => {
    const [chosen] = pick.activeItems;
    pick.hide();
    if (chosen !== undefined) {
      conversations.select(chosen.id);
      onChange();
    }
  });
  pick.onDidTriggerItemButton(({ button, item }) => {
    if (button === DELETE) {
      void confirmDelete(item).then((isSure) => {
        if (isSure) {
          onDelete(item.id);
          conversations.delete(item.id);
          onChange();
        }
      });
    } else {
      void rename(conversations, item, onChange);
    }
  });
  pick.onDidHide(() => {
    pick.dispose();
  });
  refresh();
  pick.show();
}

function toItem(conversation: Conversation, isActive: boolean): Item {
  const { id, title, changedAt, turns } = conversation;
  return {
    id,
    label: title,
    description: isActive ? 'shown now' : new Date(changedAt).toLocaleString(),
    detail: turns.length === 1 ? '1 question' : `${String(turns.length)} questions`,
    buttons: [RENAME, DELETE],
  };
}

async function rename(conversations: Conversations, item: Item, onChange: () => void): Promise<void> {
  const title = await vscode.window.showInputBox({
    title: 'Rename Conversation',
    value: item.label,
    validateInput: (value) => (value.trim() === '' ? 'Type a title.' : undefined),
  });
  if (title !== undefined) {
    conversations.rename(item.id, title);
    onChange();
  }
}

async function confirmDelete(item: Item): Promise<boolean> {
  const answer = await vscode.window.showWarningMessage(
    `Delete the conversation “${item.label}”?`,
    { modal: true, detail: GONE },
    'Delete',
  );
  return answer === 'Delete';
}
