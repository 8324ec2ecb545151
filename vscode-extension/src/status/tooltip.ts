/** The tooltip of the status bar, as Markdown. Pure. */
import type { Download, RoleModel, Snapshot } from '../protocol.ts';

/** Blocks of a bar. */
const BAR_BLOCKS = 16;
const ROLES: Readonly<Record<RoleModel['role'], string>> = {
  fim: 'Ghost text',
  chat: 'Chat',
  embed: 'Embedding',
  rerank: 'Reranking',
};

interface Unit {
  readonly name: string;
  readonly bytes: number;
  readonly digits: number;
}

/** The largest first; the last is for everything that is less. */
const UNITS: readonly [Unit, Unit, Unit] = [
  { name: 'GiB', bytes: 1 << 30, digits: 1 },
  { name: 'MiB', bytes: 1 << 20, digits: 0 },
  { name: 'KiB', bytes: 1 << 10, digits: 0 },
];

/** @param words - the state in words */
export function tooltip(words: string, snapshot: Snapshot | undefined): string {
  const lines = [`**botframework**: ${escape(words)}`];
  if (snapshot !== undefined) {
    lines.push(table(rows(snapshot)));
    if (snapshot.error !== null && !words.includes(snapshot.error.message)) {
      lines.push(escape(snapshot.error.message));
    }
    if (snapshot.notice !== '') {
      lines.push(escape(snapshot.notice));
    }
  }
  return lines.join('\n\n');
}

function rows(snapshot: Snapshot): [string, string][] {
  const rows: [string, string][] = [];
  rows.push(...models(snapshot));
  rows.push(...vram(snapshot));
  rows.push(['RAM', share(snapshot.ramUsed, snapshot.ramTotal)]);
  rows.push(['Of that', `worker ${bytes(snapshot.workerRss)}, daemon ${bytes(snapshot.daemonRss)}`]);
  const cache = `${count(snapshot.kvTokens)} of ${count(snapshot.kvCells)}`;
  const size = snapshot.kvBytes === null ? '' : `, ${bytes(snapshot.kvBytes)}`;
  rows.push(['KV tokens', `${bar(snapshot.kvTokens, snapshot.kvCells)} ${cache}${size}`]);
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
  if (snapshot.battery !== null) {
    rows.push(['Battery', `${snapshot.battery.percent} %${snapshot.battery.plugged ? ', plugged in' : ''}`]);
  }
  rows.push(...snapshot.downloads.map((found): [string, string] => ['Download', download(found)]));
  return rows;
}

/** One row, or one for each role where other models serve other roles. */
function models(snapshot: Snapshot): [string, string][] {
  const serving = snapshot.models.filter(({ name }) => name !== '');
  if (new Set(serving.map(({ path }) => path)).size > 1) {
    return serving.map(({ role, name, state }) => [
      ROLES[role],
      `${escape(name)}${state === 'ready' ? '' : ` (${state})`}`,
    ]);
  }
  return snapshot.modelName === '' ? [] : [['Model', escape(snapshot.modelName)]];
}

/** A row for each device; where the driver tells only the sum, one. */
function vram(snapshot: Snapshot): [string, string][] {
  const devices = snapshot.devices.flatMap(({ name, vramUsed, vramTotal, ownBytes }): [string, string][] => {
    if (vramUsed === null || vramTotal === null || vramTotal <= 0) {
      return [];
    }
    const own = ownBytes === null ? '' : `, ${bytes(ownBytes)} of it ours`;
    return [['VRAM', `${share(vramUsed, vramTotal)}${own}, ${escape(name)}`]];
  });
  if (devices.length > 0 || snapshot.vramUsed === null || snapshot.vramTotal === null || snapshot.vramTotal <= 0) {
    return devices;
  }
  return [['VRAM', share(snapshot.vramUsed, snapshot.vramTotal)]];
}

function download({ name, doneBytes, totalBytes, bytesPerSecond }: Download): string {
  const reached = totalBytes === null ? bytes(doneBytes) : `${bar(doneBytes, totalBytes)} ${of(doneBytes, totalBytes)}`;
  const speed = bytesPerSecond === null ? '' : `, ${bytes(bytesPerSecond)}/s`;
  return `${reached}${speed}, ${escape(name)}`;
}

function today(snapshot: Snapshot): string {
  const { suggestionsShownToday: shown, suggestionsAcceptedToday: accepted } = snapshot;
  const part = shown > 0 ? ` (${Math.round((100 * accepted) / shown)} %)` : '';
  return `${count(shown)} ${shown === 1 ? 'suggestion' : 'suggestions'} shown, ${count(accepted)} accepted${part}`;
}

function share(used: number, total: number): string {
  return `${bar(used, total)} ${of(used, total)}`;
}

/** As in `1.2 of 4.7 GiB`. */
function of(part: number, whole: number): string {
  return `${figure(part, unit(whole))} of ${bytes(whole)}`;
}

/** A bar of blocks; never full before it is, never empty once something is there. */
export function bar(used: number, total: number): string {
  const exact = total > 0 ? (BAR_BLOCKS * Math.min(Math.max(used, 0), total)) / total : 0;
  const filled = exact > 0 && exact < 1 ? 1 : Math.floor(exact);
  return `\`${'█'.repeat(filled)}${'░'.repeat(BAR_BLOCKS - filled)}\``;
}

export function bytes(value: number): string {
  return `${figure(value, unit(value))} ${unit(value).name}`;
}

function unit(value: number): Unit {
  return UNITS.find(({ bytes }) => value >= bytes) ?? UNITS[2];
}

function figure(value: number, unit: Unit): string {
  return (value / unit.bytes).toFixed(unit.digits);
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
