/** Coloured code can be read in every kind of theme: contrast as WCAG 2 computes it, at least 4.5 to 1. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const CSS = readFileSync(new URL('../../../media/chat.css', import.meta.url), 'utf8');
const ENOUGH = 4.5;
/** Editor backgrounds of well-known themes. */
const LIGHT = { white: '#ffffff', modern: '#f8f8f8', solarized: '#fdf6e3', quiet: '#f5f5f5' };
const DARK = { black: '#000000', modern: '#1f1f1f', plus: '#1e1e1e', monokai: '#272822', abyss: '#000c18' };

function colours(bodyClass: string): [string, string][] {
  const block = new RegExp(`body\\.${bodyClass}[^{]*\\{([^}]*)\\}`).exec(CSS)?.[1] ?? '';
  return [...block.matchAll(/--(token-\w+): (#[\da-f]{6})/g)].map((match) => [match[1] ?? '', match[2] ?? '']);
}

function luminance(colour: string): number {
  const channel = (at: number): number => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5);
}

function contrast(one: string, other: string): number {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

for (const [kind, backgrounds] of [
  ['vscode-light', LIGHT],
  ['vscode-dark', DARK],
] as const) {
  test(`every colour of ${kind} stands out from its backgrounds`, () => {
    const found = colours(kind);
    assert.equal(found.length, 7);
    for (const [name, colour] of found) {
      for (const [theme, background] of Object.entries(backgrounds)) {
        assert.ok(
          contrast(colour, background) >= ENOUGH,
          `${name} on ${theme}: ${contrast(colour, background).toFixed(2)}`,
        );
      }
    }
  });
}
