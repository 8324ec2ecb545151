/** When a daemon that died is started again. Pure: the time comes from outside. */

/** That many deaths within {@link WINDOW_MS} are the end; languageclient's own policy has the same figures. */
export const MAX_DEATHS = 5;
export const WINDOW_MS = 180_000;
/**
 * A daemon that dies before it answered `initialize` is tried twice: once may be bad luck (a locked file, memory that was
 * short for a moment), and whoever waits for a message should not wait for five.
 */
export const MAX_DEATHS_AT_START = 2;
/** Milliseconds before the first, second, … start after a death; the last one stays. */
export const PAUSES_MS: readonly number[] = [100, 500, 2_000, 5_000];

/** One death. */
export interface Death {
  /** Milliseconds since any fixed moment. */
  readonly at: number;
  /** Before it answered `initialize`. */
  readonly atStart: boolean;
}

/** What to do after the last of `deaths`, and the deaths that still count. */
export interface Verdict {
  readonly deaths: readonly Death[];
  /** Milliseconds to wait before the next start; undefined: do not start again. */
  readonly pauseMs: number | undefined;
}

export function afterDeath(earlier: readonly Death[], death: Death): Verdict {
  const deaths = [...earlier, death].filter((each) => death.at - each.at <= WINDOW_MS);
  let atStart = 0;
  while (atStart < deaths.length && deaths[deaths.length - 1 - atStart]?.atStart === true) {
    atStart += 1;
  }
  if (deaths.length >= MAX_DEATHS || atStart >= MAX_DEATHS_AT_START) {
    return { deaths, pauseMs: undefined };
  }
  return { deaths, pauseMs: PAUSES_MS[Math.min(deaths.length, PAUSES_MS.length) - 1] };
}
