/** The tooltip of the status bar, as Markdown. Pure. */
import type { Snapshot } from '../protocol.ts';

/** Blocks of a bar. */
const BAR_BLOCKS = 16;
const GIB = 1 << 30;
const MIB = 1 << 20;

/** @param words - the state in words */
export function tooltip(words: string, snapshot: Snapshot | undefined): string {
  const lines = [`**botframework**: ${escape(words)}`];
  if (snapshot !== undefined) {
    lines.push(table(rows(snapshot)));
    if (snapshot.error !== null && !words.includes(snapshot.error.message)) {
      lines.push(escape(snapshot.error.message));
    }
  }
  return lines.join('\n\n');
}

function rows(snapshot: Snapshot): [string, string][] {
  const rows: [string, string][] = [];
  if (snapshot.modelName !== '') {
    rows.push(['Model', escape(snapshot.modelName)]);
  }
  if (snapshot.vramUsed !== null && snapshot.vramTotal !== null && snapshot.vramTotal > 0) {
    rows.push(['VRAM', share(snapshot.vramUsed, snapshot.vramTotal)]);
  }
  rows.push(['RAM', share(snapshot.ramUsed, snapshot.ramTotal)]);
  rows.push(['Of that', `worker ${bytes(snapshot.workerRss)}, daemon ${bytes(snapshot.daemonRss)}`]);
  rows.push([
    'KV tokens',
    `${bar(snapshot.kvTokens, snapshot.kvCells)} ${count(snapshot.kvTokens)} of ${count(snapshot.kvCells)}`,
  ]);
  rows.push(['Queue', `${snapshot.queued} waiting, ${snapshot.running} running`]);
  if (snapshot.tokensPerSecond > 0) {
    rows.push(['Speed', `${snapshot.tokensPerSecond.toFixed(1)} tokens/s`]);
  }
  if (snapshot.lastFirstTokenMs > 0) {
    rows.push(['First token', `${Math.round(snapshot.lastFirstTokenMs)} ms`]);
  }
  rows.push(['Today', today(snapshot)]);
  if (snapshot.clients > 1) {
    rows.push(['Shared by', `${snapshot.clients} windows`]);
  }
  return rows;
}

function today(snapshot: Snapshot): string {
  const { suggestionsShownToday: shown, suggestionsAcceptedToday: accepted } = snapshot;
  const part = shown > 0 ? ` (${Math.round((100 * accepted) / shown)} %)` : '';
  return `${count(shown)} ${shown === 1 ? 'suggestion' : 'suggestions'} shown, ${count(accepted)} accepted${part}`;
}

function share(used: number, total: number): string {
  return `${bar(used, total)} ${(used / GIB).toFixed(1)} of ${bytes(total)}`;
}

/** A bar of blocks; never full before it is, never empty once something is there. */
export function bar(used: number, total: number): string {
  const exact = total > 0 ? (BAR_BLOCKS * Math.min(Math.max(used, 0), total)) / total : 0;
  const filled = exact > 0 && exact < 1 ? 1 : Math.floor(exact);
  return `\`${'█'.repeat(filled)}${'░'.repeat(BAR_BLOCKS - filled)}\``;
}

export function bytes(value: number): string {
  return value >= GIB ? `${(value / GIB).toFixed(1)} GiB` : `${Math.round(value / MIB)} MiB`;
}

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

function table(rows: readonly (readonly [string, string])[]): string {
  return ['| | |', '|:--|:--|', ...rows.map(([name, value]) => `| ${name} | ${value} |`)].join('\n');
}

/** Names and messages come from files and the daemon: none of it is markup here. */
export function escape(text: string): string {
  return text.replace(/[\\`*_{}[\]()#+\-.!|<>~$&]/g, '\\$&').replaceAll(/\s+/g, ' ');
}
