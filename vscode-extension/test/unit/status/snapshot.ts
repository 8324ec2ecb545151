import type { Snapshot } from '../../../src/protocol.ts';

/** A heartbeat of a daemon that is ready. */
export function snapshot(changes: Partial<Snapshot> = {}): Snapshot {
  return {
    state: 'ready',
    modelName: 'demo',
    modelPath: '/demo.gguf',
    loadPercent: 100,
    vramUsed: null,
    vramTotal: null,
    ramUsed: 4 * 2 ** 30,
    ramTotal: 16 * 2 ** 30,
    daemonRss: 45 * 2 ** 20,
    workerRss: 600 * 2 ** 20,
    workerPid: 1,
    clients: 1,
    kvTokens: 1234,
    kvCells: 4096,
    canCutTail: true,
    queued: 0,
    running: 0,
    tokensPerSecond: 0,
    lastFirstTokenMs: 0,
    promptTokensRead: 0,
    backgroundTokensRead: 0,
    tokensGenerated: 0,
    suggestionsShownToday: 0,
    suggestionsAcceptedToday: 0,
    logFile: '',
    error: null,
    ...changes,
  };
}
