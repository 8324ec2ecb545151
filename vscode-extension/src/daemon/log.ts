/** The daemon's log lines, for a channel that has levels and times of its own. Pure. */

export interface LogLine {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly text: string;
}

// `2026-11-21 12:00:00.123 WARNING 4711 botframework.cli: text`, as daemon/botframework/process/logs.py writes it.
const LINE = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (CRITICAL|ERROR|WARNING|INFO|DEBUG) +\d+ (.*)$/s;
const LEVELS: Readonly<Record<string, LogLine['level']>> = {
  CRITICAL: 'error',
  ERROR: 'error',
  WARNING: 'warn',
  INFO: 'info',
  DEBUG: 'debug',
};

/** A line that is none of the log's, such as one of a traceback, is kept as it is. */
export function readLine(line: string): LogLine {
  const found = LINE.exec(line);
  return { level: LEVELS[found?.[1] ?? ''] ?? 'info', text: found?.[2] ?? line };
}
