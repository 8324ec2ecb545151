/** Whether suggestions are wanted here and now: per language by a setting, and not while they are snoozed. Pure. */
import { EVERY_LANGUAGE, isEnabledFor, type Enablement } from '../settings.ts';

export const SNOOZE_MINUTES: readonly number[] = [5, 15, 60];
const MINUTE_MS = 60_000;

/** Until when there are no suggestions: milliseconds since the epoch, `Infinity` until the user says so, 0 for now. */
export type PausedUntil = number;

export function isPaused(until: PausedUntil, now: number): boolean {
  return until > now;
}

/** Minutes that are left, at least 1; undefined when nothing is counted down. */
export function minutesLeft(until: PausedUntil, now: number): number | undefined {
  return isPaused(until, now) && Number.isFinite(until) ? Math.ceil((until - now) / MINUTE_MS) : undefined;
}

export function snoozedUntil(minutes: number, now: number): PausedUntil {
  return now + minutes * MINUTE_MS;
}

/** Milliseconds until {@link minutesLeft} shows another figure. */
export function nextTick(until: PausedUntil, now: number): number {
  const left = until - now;
  return left % MINUTE_MS === 0 ? MINUTE_MS : left % MINUTE_MS;
}

/** The setting after the global switch: every language that has no entry of its own. */
export function toggled(enabled: Enablement): Enablement {
  return { ...enabled, [EVERY_LANGUAGE]: !isEnabledFor(enabled, EVERY_LANGUAGE) };
}

/** The setting after the switch of one language; an entry that says what `*` says anyway is dropped. */
export function toggledFor(enabled: Enablement, language: string): Enablement {
  const wanted = !isEnabledFor(enabled, language);
  const others = Object.fromEntries(Object.entries(enabled).filter(([key]) => key !== language));
  return wanted === isEnabledFor(enabled, EVERY_LANGUAGE) ? others : { ...others, [language]: wanted };
}
