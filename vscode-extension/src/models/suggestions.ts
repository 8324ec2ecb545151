/** The models of the catalog that suit this machine: which are offered, and why. Pure. */
import type { HardwareSummary, Recommendation } from '../protocol.ts';
import { bytes } from '../status/tooltip.ts';
import { parameters, withoutIcons, type ModelLine } from './entries.ts';
import { forRoles, isServed, type ServedRole } from './roles.ts';

/** One model, for all that it is recommended for. */
export interface Suggestion {
  readonly recommendation: Recommendation;
  readonly roles: readonly ServedRole[];
}

/** Offered for each role: nobody reads a longer list. */
const PER_ROLE = 3;

const PLACES: Readonly<Record<Recommendation['placement'], string>> = {
  gpu: 'on the GPU',
  partial: 'partly on the GPU',
  cpu: 'in main memory',
  none: 'nowhere',
};

/** The best for each role without those that cannot run: the first choices first. */
export function suggestions(recommendations: readonly Recommendation[]): Suggestion[] {
  const found = new Map<string, Suggestion & { readonly rank: number }>();
  const taken = new Map<ServedRole, number>();
  for (const recommendation of recommendations) {
    const { role, reference, placement } = recommendation;
    if (!isServed(role) || placement === 'none') {
      continue;
    }
    const rank = taken.get(role) ?? 0;
    if (rank >= PER_ROLE) {
      continue;
    }
    taken.set(role, rank + 1);
    const known = found.get(reference);
    const roles = [...(known?.roles ?? []), role];
    // What speaks for it most is said.
    found.set(
      reference,
      known !== undefined && known.rank <= rank ? { ...known, roles } : { recommendation, roles, rank },
    );
  }
  return [...found.values()]
    .sort((one, other) => one.rank - other.rank)
    .map(({ recommendation, roles }) => ({ recommendation, roles }));
}

export function suggestionLine({ recommendation, roles }: Suggestion): ModelLine {
  const { estimatedBytes, licence, placement, quantization } = recommendation;
  const facts = [quantization, `${parameters(recommendation.parameters)} parameters`, `about ${bytes(estimatedBytes)}`];
  const remarks = [forRoles(roles), PLACES[placement], licence, ...recommendation.reasons.slice(0, 1)];
  return {
    label: `$(cloud-download) ${withoutIcons(recommendation.name)}`,
    description: withoutIcons(facts.join(' · ')),
    detail: withoutIcons(remarks.filter((remark) => remark !== null).join(' · ')),
  };
}

/** All that speaks for a model, and against it, for a dialog: the daemon's reasons, with the scores behind them. */
export function explanation({ recommendation, roles }: Suggestion): string {
  const { size, precision, kv, performance, density } = recommendation.scores;
  const score = (value: number | null): string => (value === null ? 'unknown' : String(Math.round(value)));
  return [
    `From ${recommendation.repository}, ${forRoles(roles)}.`,
    '',
    ...recommendation.reasons,
    '',
    `${score(recommendation.total)} of 100: size ${score(size)}, precision ${score(precision)}, context ${score(kv)}, ` +
      `speed ${score(performance)}, accuracy for its size ${score(density)}.`,
  ].join('\n');
}

/** As in `16.0 GiB of memory, NVIDIA L4 with 24.0 GiB`. */
export function machineWords(hardware: HardwareSummary): string {
  const gpus = hardware.gpus
    .filter(({ isUsable }) => isUsable)
    .map(({ name, vramTotal }) => `${name}${vramTotal === null ? '' : ` with ${bytes(vramTotal)}`}`);
  return [`${bytes(hardware.ramTotal)} of memory`, ...(gpus.length === 0 ? ['no GPU'] : gpus)].join(', ');
}
