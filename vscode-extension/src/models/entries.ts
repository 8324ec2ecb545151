/** The models in a quick pick: what each is, where it came from, and whether it fits. Pure. */
import type { ModelEntry } from '../protocol.ts';
import { bytes } from '../status/tooltip.ts';
import { forRoles, type ServedRole } from './roles.ts';

export interface ModelLine {
  readonly label: string;
  readonly description: string;
  readonly detail: string;
}

/** Where a file lies that botframework neither brought nor downloaded. */
const PLACES: Readonly<Partial<Record<ModelEntry['source'], string>>> = {
  ollama: 'from Ollama',
  lmStudio: 'from LM Studio',
  huggingFace: 'from the Hugging Face cache',
  llamaCpp: 'from the llama.cpp cache',
};

/**
 * @param isRecommended - whether it is one of those that suit this machine best
 * @param roles - what it does, where others do the rest
 */
export function modelLine(entry: ModelEntry, isRecommended = false, roles: readonly ServedRole[] = []): ModelLine {
  const facts = [
    entry.quantization,
    entry.parameters === null ? null : `${parameters(entry.parameters)} parameters`,
    bytes(entry.sizeBytes),
    roles.length === 0 ? null : forRoles(roles),
    isRecommended ? '$(star-full) recommended' : null,
  ];
  return {
    label: `${entry.loaded ? '$(check)' : '$(package)'} ${withoutIcons(entry.name)}`,
    description: facts.filter((fact) => fact !== null && fact !== '').join(' · '),
    detail: detail(entry),
  };
}

/** Names come from files and from the network; `$(x)` in a label would be drawn. */
export function withoutIcons(text: string): string {
  return text.replaceAll('$(', '(');
}

function detail(entry: ModelEntry): string {
  if (entry.problem !== null) {
    return `$(error) ${withoutIcons(entry.problem.message)}`;
  }
  const remarks = [
    entry.fits === null ? null : entry.fits ? 'fits this machine' : '$(warning) does not fit this machine',
    entry.canInfill === false ? 'no ghost text: it cannot fill in the middle' : null,
    entry.hasChatTemplate === false ? 'not made for chat' : null,
    PLACES[entry.source] ?? null,
    entry.embedded ? 'the demonstration model of the package' : withoutIcons(entry.path),
  ];
  return remarks.filter((remark) => remark !== null).join(' · ');
}

/** As in `1.5 B` or `23 M`. */
export function parameters(count: number): string {
  const [value, unit] = count >= 1e9 ? [count / 1e9, 'B'] : [count / 1e6, 'M'];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}
