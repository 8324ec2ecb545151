/** Old and new lines in an editor: the colours of VS Code's own diff, and signs for those who cannot tell colours. */
import * as vscode from 'vscode';

import type { Line, LineState } from './lines.ts';

type MarkedState = Exclude<LineState, 'same' | 'pending'>;

export class Marks implements vscode.Disposable {
  readonly #types: Readonly<Record<MarkedState, vscode.TextEditorDecorationType>> = {
    inserted: marked('inserted', 'added', 'M8 3v10M3 8h10'),
    deleted: marked('removed', 'deleted', 'M3 8h10'),
  };

  /** Mark the lines, which begin at `firstLine` of the editor's document. */
  set(editor: vscode.TextEditor, firstLine: number, lines: readonly Line[]): void {
    for (const state of ['inserted', 'deleted'] as const) {
      editor.setDecorations(this.#types[state], rangesOf(lines, state, firstLine));
    }
  }

  dispose(): void {
    this.#types.inserted.dispose();
    this.#types.deleted.dispose();
  }
}

function rangesOf(lines: readonly Line[], state: MarkedState, firstLine: number): vscode.Range[] {
  return lines.flatMap((line, index) =>
    line.state === state ? [new vscode.Range(firstLine + index, 0, firstLine + index, line.text.length)] : [],
  );
}

function marked(
  line: 'inserted' | 'removed',
  ruler: 'added' | 'deleted',
  path: string,
): vscode.TextEditorDecorationType {
  return vscode.window.createTextEditorDecorationType({
    isWholeLine: true,
    backgroundColor: new vscode.ThemeColor(`diffEditor.${line}LineBackground`),
    overviewRulerColor: new vscode.ThemeColor(`editorOverviewRuler.${ruler}Foreground`),
    overviewRulerLane: vscode.OverviewRulerLane.Left,
    gutterIconSize: 'contain',
    light: { gutterIconPath: sign(path, '#3b3b3b') },
    dark: { gutterIconPath: sign(path, '#cccccc') },
  });
}

function sign(path: string, colour: string): vscode.Uri {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="${path}" stroke="${colour}" stroke-width="1.5"/></svg>`;
  return vscode.Uri.from({ scheme: 'data', path: `image/svg+xml;base64,${Buffer.from(svg).toString('base64')}` });
}
