/** The models in a quick pick: what each is, and whether it fits. Pure. */
import type { ModelEntry } from '../protocol.ts';
import { bytes } from '../status/tooltip.ts';

export interface ModelLine {
  readonly label: string;
  readonly description: string;
  readonly detail: string;
}

export function modelLine(entry: ModelEntry): ModelLine {
  const facts = [
    entry.quantization,
    entry.parameters === null ? null : `${parameters(entry.parameters)} parameters`,
    bytes(entry.sizeBytes),
  ];
  return {
    label: `${entry.loaded ? '$(check)' : '$(package)'} ${entry.name.replaceAll('$(', '(')}`,
    description: facts.filter((fact) => fact !== null && fact !== '').join(' · '),
    detail: detail(entry),
  };
}

function detail(entry: ModelEntry): string {
  if (entry.problem !== null) {
    return `$(error) ${entry.problem.message}`;
  }
  const remarks = [
    entry.fits === null ? null : entry.fits ? 'fits this machine' : '$(warning) does not fit this machine',
    entry.canInfill === false ? 'no ghost text: it cannot fill in the middle' : null,
    entry.hasChatTemplate === false ? 'not made for chat' : null,
    entry.embedded ? 'the demonstration model of the package' : entry.path,
  ];
  return remarks.filter((remark) => remark !== null).join(' · ');
}

/** As in `1.5 B` or `23 M`. */
export function parameters(count: number): string {
  const [value, unit] = count >= 1e9 ? [count / 1e9, 'B'] : [count / 1e6, 'M'];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}
