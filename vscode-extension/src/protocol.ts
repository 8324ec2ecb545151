/**
 * What editor and daemon say beyond the LSP; schemas/PROTOCOL.md is the specification. Times are milliseconds, sizes
 * bytes, counts of text tokens unless the name says otherwise.
 *
 * Generated from schemas/lsp.json by `make schemas`; do not edit.
 */

/** What a daemon tells as `capabilities.experimental.botframework.protocolVersion`. */
export const protocolVersion = 1;

/** Requests to the daemon. */
export interface Requests {
  'botframework/complete': { params: CompleteParams; result: CompleteResult };
  'botframework/chat': { params: ChatParams; result: ChatResult };
  'botframework/edit': { params: EditParams; result: EditResult };
  'botframework/status': { params: NoParams; result: Snapshot };
  'botframework/inspect': { params: InspectParams; result: InspectResult };
  'botframework/pause': { params: NoParams; result: Snapshot };
  'botframework/resume': { params: NoParams; result: Snapshot };
  'botframework/restart': { params: NoParams; result: Snapshot };
  'botframework/models/list': { params: NoParams; result: ModelsResult };
  'botframework/models/load': { params: LoadModelParams; result: Snapshot };
  'botframework/models/unload': { params: NoParams; result: Snapshot };
  'botframework/models/recommend': { params: RecommendParams; result: Advice };
  'botframework/models/pull': { params: PullModelParams; result: PullModelResult };
  'botframework/models/remove': { params: RemoveModelParams; result: ModelsResult };
  'botframework/sessions/list': { params: NoParams; result: SessionsResult };
  'botframework/sessions/close': { params: CloseSessionParams; result: SessionsResult };
  'botframework/sessions/clear': { params: NoParams; result: SessionsResult };
}

/** Notifications to the daemon. */
export interface Notifications {
  'botframework/didVisit': DidVisitParams;
  'textDocument/didShowCompletion': DidShowCompletionParams;
  'textDocument/didPartiallyAcceptCompletion': DidPartiallyAcceptCompletionParams;
}

/** Notifications from the daemon. */
export interface DaemonNotifications {
  '$/botframework/heartbeat': Snapshot;
  '$/botframework/modelReady': ModelReady;
  'experimental/serverStatus': ServerStatus;
}

/** The code of every kind of error. */
export const errorCodes = {
  /** The root. `data` travels to the client as JSON-RPC `error.data`. */
  BotframeworkError: -32603,
  /** A parameter is missing, of the wrong type or out of its limits; the message names the field and the limits. */
  InvalidParams: -32602,
  /** The model's vocabulary has no fill-in-the-middle tokens. */
  ModelCannotInfill: -32602,
  /** The request is not allowed in the server's present state, or its id is already in use. */
  InvalidRequest: -32600,
  /** The method is neither one of the LSP's that is carried out nor one of ours. */
  MethodNotFound: -32601,
  /** A request came before `initialize`. */
  ServerNotInitialized: -32002,
  /** The client cancelled the request. */
  RequestCancelled: -32800,
  /** The document was changed where the answer would have gone, or is not in the version that the request names. */
  ContentModified: -32801,
  /** A newer request of the same document took this one's place. */
  RequestSuperseded: -32802,
  /** A bounded queue is full. `data.retryAfterMs` says when to try again. */
  ServerBusy: -33001,
  /** The request's own deadline passed before its first token. */
  DeadlineExceeded: -33002,
  /** The prompt does not fit. `data.promptTokens` and `data.contextTokens` give both numbers. */
  ContextOverflow: -33003,
  /** The model's chat template could not be compiled or rendered within its limits. */
  TemplateError: -33004,
  /** A setting has a wrong type or value, or came from a source that may not set it. */
  ConfigError: -33005,
  /** Something about the model file or its loading. */
  ModelError: -33100,
  /** No model is chosen. */
  ModelNotConfigured: -33100,
  /** The model file does not exist or cannot be read. */
  ModelNotFound: -33101,
  /** The file's header shows that it is not a whole, well-formed GGUF; llama.cpp never saw it. */
  ModelRefused: -33102,
  /** llama.cpp refused the file or died of it; the message carries llama.cpp's own words. */
  ModelCorrupt: -33103,
  /** Not enough memory for the weights or the KV cache. */
  ModelDoesNotFit: -33104,
  /** The model is not ready yet. `data.fraction` tells how far it is. */
  ModelLoading: -33105,
  /**
   * Other workers of this user hold the memory. `data` has `neededBytes`, `availableBytes` and `holders`, a list of
   * `{model, pid, bytes, clients, idleS}`.
   */
  InsufficientMemory: -33106,
  /** Something about the worker process. */
  WorkerError: -33200,
  /** The worker ended while the request was with it. */
  WorkerCrashed: -33200,
  /** The worker could not be started or did not listen in time. */
  WorkerStartFailed: -33201,
  /** The worker died too often; `botframework/restart` tries again. */
  WorkerUnavailable: -33202,
  /** The same request was alone in two fatal computations and is refused for a while (`data.retryAfterMs`). */
  RequestQuarantined: -33203,
  /** The local socket between daemon and worker carried something it must not. */
  WireError: -33300,
  /** A frame is larger than the link allows. */
  FrameTooLarge: -33301,
  /** Daemon and worker speak different protocol versions. */
  VersionMismatch: -33302,
  /** Something about the folder of models or a download into it. */
  StoreError: -33400,
  /**
   * The network or the server failed, stalled or sent another number of bytes than it had announced. `data.url` names
   * the address without what could be secret in it. What has arrived is kept; a new attempt goes on there.
   */
  DownloadFailed: -33401,
  /** What arrived, or lies in the store, is not what was published. `data.expected` and `data.found` tell both. */
  DigestMismatch: -33402,
  /** The hub gives the file only to accounts that may have it; the message tells where to ask and to set the token. */
  ModelGated: -33403,
  /** The hub has no such repository, revision or file; the message has the names that come near. */
  RemoteNotFound: -33404,
  /** Not enough room. `data.neededBytes`, `data.freeBytes` and `data.folder` say how much, and where. */
  DiskFull: -33405,
  /** The address, a redirect, a name or a size is one that we do not follow. */
  PullRefused: -33406,
} as const;

/** What `error.data.kind` may be; a newer daemon may have others. */
export type ErrorKind = keyof typeof errorCodes;

/** The `data` of an error that the daemon raised on purpose; some kinds add fields of their own. */
export interface ErrorData {
  kind: ErrorKind;
  /** Whether the same request may succeed later without being changed. */
  retryable: boolean;
  /** When to try again, of the kinds that know it. */
  retryAfterMs?: number;
}

/** The machine, and the models of the catalog that suit it. */
export interface Advice {
  hardware: HardwareSummary;
  /** Best first. */
  recommendations: Recommendation[];
}

/** The machine's battery. */
export interface Battery {
  percent: number;
  plugged: boolean;
}

/** One turn. */
export interface ChatMessage {
  role: 'assistant' | 'system' | 'tool' | 'user';
  content: string;
}

/** Answer a conversation. */
export interface ChatParams {
  /**
   * Keeps what the model has read under this name, so that the next request with it only reads what is new; at most 512
   * characters. Empty: nothing is kept.
   */
  session?: string;
  sampling?: Sampling | null;
  /** 1 to 32,768. */
  maxTokens?: number | null;
  /** At most 16 strings of 1 to 256 characters; the answer ends before the first of them. */
  stop?: string[];
  /** 1 to 3,600,000; then the answer ends with what is there. */
  deadlineMs?: number | null;
  /** With it, text comes as `$/progress` values of `StreamValue`, and the final `text` is empty. */
  partialResultToken?: number | string | null;
  /** With it, `$/progress` reports the beginning and the end of the work. */
  workDoneToken?: number | string | null;
  /** 1 to 1,024 messages, oldest first. */
  messages: ChatMessage[];
  /** Drop the oldest whole turns (never the system message) when the conversation does not fit. */
  trim?: boolean | null;
}

/** The end of a chat answer. */
export interface ChatResult {
  /** The whole answer; empty if it was streamed. */
  text: string;
  finishReason: 'cancelled' | 'deadline' | 'ending' | 'length' | 'stop' | 'stopString';
  usage: Usage;
  timings: Timings;
  /** Messages that were left out because the conversation did not fit. */
  droppedMessages: number;
}

/** Which session to forget. */
export interface CloseSessionParams {
  session: string;
}

/** Fill in the middle: at a position of an open document, or between a given prefix and suffix. */
export interface CompleteParams {
  /**
   * Keeps what the model has read under this name, so that the next request with it only reads what is new; at most 512
   * characters. Empty: nothing is kept.
   */
  session?: string;
  sampling?: Sampling | null;
  /** 1 to 32,768. */
  maxTokens?: number | null;
  /** At most 16 strings of 1 to 256 characters; the answer ends before the first of them. */
  stop?: string[];
  /** 1 to 3,600,000; then the answer ends with what is there. */
  deadlineMs?: number | null;
  /** With it, text comes as `$/progress` values of `StreamValue`, and the final `text` is empty. */
  partialResultToken?: number | string | null;
  /** With it, `$/progress` reports the beginning and the end of the work. */
  workDoneToken?: number | string | null;
  textDocument?: TextDocumentIdentifier | null;
  position?: Position | null;
  prefix?: string | null;
  suffix?: string | null;
}

/** The end of an answer. */
export interface CompleteResult {
  /** The whole answer; empty if it was streamed. */
  text: string;
  finishReason: 'cancelled' | 'deadline' | 'ending' | 'length' | 'stop' | 'stopString';
  usage: Usage;
  timings: Timings;
}

/** One compute device as llama.cpp sees it. */
export interface Device {
  name: string;
  description: string;
  kind: 'accelerator' | 'cpu' | 'gpu' | 'igpu';
  totalBytes: number;
  freeBytes: number;
}

/** The memory of one GPU. */
export interface DeviceMemory {
  name: string;
  /** `igpu`: it shares the machine's memory. */
  kind: 'gpu' | 'igpu';
  /** By all programs. */
  vramUsed: number | null;
  vramTotal: number | null;
  /** By the workers of this daemon; null where the driver does not tell. */
  ownBytes: number | null;
}

/** A part of a suggestion was taken over. */
export interface DidPartiallyAcceptCompletionParams {
  item: ShownItem;
  /** UTF-16 code units of `insertText`, counted from its beginning. */
  acceptedLength: number;
}

/** A suggestion is on the screen. */
export interface DidShowCompletionParams {
  item: ShownItem;
}

/** A region that the user looked at. */
export interface DidVisitParams {
  textDocument: TextDocumentIdentifier;
  range: Range;
}

/** One model that some process of this user is pulling. */
export interface Download {
  name: string;
  doneBytes: number;
  totalBytes: number | null;
  /** Since the heartbeat before; null in the first one. */
  bytesPerSecond: number | null;
}

/** Change a part of an open document as an instruction says. */
export interface EditParams {
  /**
   * Keeps what the model has read under this name, so that the next request with it only reads what is new; at most 512
   * characters. Empty: nothing is kept.
   */
  session?: string;
  sampling?: Sampling | null;
  /** 1 to 32,768. */
  maxTokens?: number | null;
  /** At most 16 strings of 1 to 256 characters; the answer ends before the first of them. */
  stop?: string[];
  /** 1 to 3,600,000; then the answer ends with what is there. */
  deadlineMs?: number | null;
  /** With it, text comes as `$/progress` values of `StreamValue`, and the final `text` is empty. */
  partialResultToken?: number | string | null;
  /** With it, `$/progress` reports the beginning and the end of the work. */
  workDoneToken?: number | string | null;
  textDocument: TextDocumentIdentifier;
  /** What is to be changed; an empty range asks for new text at its place. */
  range: Range;
  /** 1 to 32,768 characters. */
  instruction: string;
  /**
   * The document's version that the range belongs to. If the daemon knows another one, the request is refused with
   * `ContentModified`. Null: the version that the daemon knows.
   */
  version?: number | null;
}

/** The end of an edit. Nothing is applied: that is the client's to do, once the user has agreed. */
export interface EditResult {
  /** The whole answer; empty if it was streamed. */
  text: string;
  finishReason: 'cancelled' | 'deadline' | 'ending' | 'length' | 'stop' | 'stopString';
  usage: Usage;
  timings: Timings;
  /**
   * One edit with the whole new text, streamed or not, of the document's present version: what was typed outside the
   * range meanwhile has moved it. Unless `finishReason` is `stop` the new text is not complete.
   */
  edit: WorkspaceEdit;
}

/** What completion, chat and edit have in common. What is left out comes from the settings. */
export interface GenerateParams {
  /**
   * Keeps what the model has read under this name, so that the next request with it only reads what is new; at most 512
   * characters. Empty: nothing is kept.
   */
  session?: string;
  sampling?: Sampling | null;
  /** 1 to 32,768. */
  maxTokens?: number | null;
  /** At most 16 strings of 1 to 256 characters; the answer ends before the first of them. */
  stop?: string[];
  /** 1 to 3,600,000; then the answer ends with what is there. */
  deadlineMs?: number | null;
  /** With it, text comes as `$/progress` values of `StreamValue`, and the final `text` is empty. */
  partialResultToken?: number | string | null;
  /** With it, `$/progress` reports the beginning and the end of the work. */
  workDoneToken?: number | string | null;
}

/** One graphics processor. Sizes are bytes; null is unknown. */
export interface GpuSummary {
  name: string;
  vendor: 'amd' | 'apple' | 'intel' | 'nvidia' | 'other';
  /** Its version; empty if it is not known. */
  driver: string;
  vramTotal: number | null;
  /** Of the whole device, whoever uses it. */
  vramFree: number | null;
  /** 10^9 bytes per second between it and its own memory. */
  bandwidthGbS: number | null;
  /** Whether it shares the machine's memory. */
  isIntegrated: boolean;
  /** False: this build of llama.cpp cannot compute on it. */
  isUsable: boolean;
}

/** The machine, as far as it decides which models run on it. Sizes are bytes; null is unknown, or there is none. */
export interface HardwareSummary {
  cpu: string;
  physicalCores: number;
  logicalCores: number;
  /** As in `AVX2`. */
  instructionSets: string[];
  /** What this process may use, if that is less than the machine has. */
  ramTotal: number;
  ramAvailable: number;
  /** 10^9 bytes per second between CPU and main memory. */
  memoryBandwidthGbS: number | null;
  /** Whether CPU and GPU share one memory, as on Apple's chips. */
  unifiedMemory: boolean;
  gpus: GpuSummary[];
  battery: Battery | null;
}

/** Which document's last suggestion to explain. */
export interface InspectParams {
  textDocument: TextDocumentIdentifier;
}

/** How the last completion of a document was asked, and what became of it. */
export interface InspectResult {
  /** Whether a suggestion was sent for the last request. */
  shown: boolean;
  /** Why not; empty if one was sent. */
  reason:
    | ''
    | 'cancelled'
    | 'cutShort'
    | 'disabled'
    | 'empty'
    | 'equalsSuffixLine'
    | 'failed'
    | 'lowConfidence'
    | 'noModel'
    | 'notAsked'
    | 'onlyClosers'
    | 'paused'
    | 'repeatsAbove'
    | 'superseded'
    | 'whitespaceOnly';
  /** More about the reason, such as the kind of an error; may be empty. */
  detail: string;
  /** Where the suggestion came from; empty if there was none. */
  source: '' | 'cached' | 'joined' | 'model' | 'prefetched';
  /** Of the model's last answer; null if it was not asked. */
  timings: Timings | null;
  /** How often `botframework/didVisit` named the document since it was opened. */
  visits: number;
  /** False: the worker knows no completion of the document; every field below is empty. */
  found: boolean;
  order: 'psm' | 'spm';
  /** Where the text since the anchor stands: before the middle's mark or after it. */
  typed: 'after' | 'before';
  /** The exact prompt, special tokens by their names, without what healing held back. */
  prompt: string;
  /** The window's text before the anchor. */
  head: string;
  /** The frozen text after the cursor. */
  suffix: string;
  /** The text between anchor and cursor. */
  middle: string;
  /** The end of the middle that healing took out of the prompt and demanded back from the model. */
  held: string;
  promptTokens: number;
  cachedTokens: number;
  evaluatedTokens: number;
  /** Whether the window is the short one after a jump. */
  isShort: boolean;
  /** How often this session's window was laid anew in the background. */
  reanchors: number;
}

/** The command of a suggestion, as it was sent to the client. */
export interface ItemCommand {
  command?: string;
  arguments?: unknown[] | null;
}

/** Which model file to load in the place of the present one. */
export interface LoadModelParams {
  /** Absolute, or beginning with `~`; as in `ModelEntry`. */
  path: string;
  /** Which requests it shall serve; empty: all. */
  roles?: ('chat' | 'fim')[];
  /** With it, `$/progress` reports the loading in percent; without, the daemon's own progress of loading does. */
  workDoneToken?: number | string | null;
}

/** One model file. */
export interface ModelEntry {
  /** What the model calls itself, else its file's name. */
  name: string;
  path: string;
  sizeBytes: number;
  /** As in `llama`; empty when the header cannot be read. */
  architecture: string;
  /** As in `Q4_K_M`; null when the header cannot be read. */
  quantization: string | null;
  /** Null when the header cannot be read. */
  parameters: number | null;
  /** Tokens of context that the model was trained for; null when the header cannot be read. */
  nCtxTrain: number | null;
  /**
   * Whether the vocabulary has fill-in-the-middle tokens, without which there is no ghost text; null when the header
   * cannot be read.
   */
  canInfill: boolean | null;
  /** False: the model was hardly trained for chat and edits. Null when the header cannot be read. */
  hasChatTemplate: boolean | null;
  /**
   * Whether weights, KV cache and working memory fit this machine's GPU or memory, with the settings in force, when
   * nothing else is in it; null when the header cannot be read, or when it does not tell of the model's other files.
   */
  fits: boolean | null;
  loaded: boolean;
  /** The demonstration model inside the package. */
  embedded: boolean;
  /** A setting names it, or it is the embedded one and takes the place of a setting that is not there. */
  configured: boolean;
  /**
   * Where it is from: the package, a download of ours, the user's own hands, another program's folder; `file`: it lies
   * in none of them and was named by its path.
   */
  source: 'embedded' | 'file' | 'folder' | 'huggingFace' | 'llamaCpp' | 'lmStudio' | 'ollama' | 'pulled';
  /** Why the file cannot be loaded, as far as its header tells. */
  problem: Problem | null;
}

/** What the loaded model is. */
export interface ModelInfo {
  name: string;
  architecture: string;
  description: string;
  path: string;
  sizeBytes: number;
  nParams: number;
  nVocab: number;
  nCtxTrain: number;
  nLayers: number;
  nEmbd: number;
  canInfill: boolean;
  fimOrder: 'none' | 'psm' | 'spm';
  fimTyped: 'after' | 'before';
  hasChatTemplate: boolean;
  /** Whether the KV cache can drop its last tokens. False for recurrent models, whose sessions need checkpoints. */
  canCutTail: boolean;
}

/** A model was loaded. */
export interface ModelReady {
  model: ModelInfo;
  devices: Device[];
  nThreads: number;
  nCtxFim: number;
  nCtxChat: number;
  loadMs: number;
  prefillTokensPerS: number;
  decodeTokensPerS: number;
  llamaBuild: string;
}

/** The model files that can be chosen from. */
export interface ModelsResult {
  /** The embedded one, the configured one, the loaded one, then those of the folder by their paths. */
  models: ModelEntry[];
  /** Where the user's model files are looked for; it need not exist. */
  folder: string;
  /** Whether the folder holds more files than are listed. */
  hasMore: boolean;
}

/** Nothing. */
export type NoParams = Record<string, never>;

/** A place in a document: zero-based line, and UTF-16 code units from its start. Beyond the end is the end. */
export interface Position {
  line: number;
  character: number;
}

/** Why the model cannot be used. */
export interface Problem {
  /** Class name in `errors`. */
  kind: string;
  message: string;
}

/** Which model to download. */
export interface PullModelParams {
  /**
   * As in `Recommendation`, or `hf:owner/repository:quantization`, `hf:owner/repository/file.gguf`, an https address,
   * an absolute path; 1 to 8,192 characters.
   */
  reference: string;
  /** With it, `$/progress` reports the download. */
  workDoneToken?: number | string | null;
}

/** A model that is on the disk, whole and verified. */
export interface PullModelResult {
  model: ModelEntry;
}

/** Two places in a document; the end is not part of it. */
export interface Range {
  start: Position;
  end: Position;
}

/** What a model is wanted for. */
export interface RecommendParams {
  /** Empty: everything. */
  roles?: ('chat' | 'embed' | 'fim' | 'rerank')[];
}

/** A model of the catalog for one role on this machine, and why. */
export interface Recommendation {
  /** As in the catalog. */
  modelId: string;
  /** For people. */
  name: string;
  role: 'chat' | 'embed' | 'fim' | 'rerank';
  /** At the hub, as in `Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF`. */
  repository: string;
  /** As in `Q4_K_M`. */
  quantization: string;
  /** What `botframework/models/pull` takes. */
  reference: string;
  parameters: number;
  /** Null where it is not known. */
  licence: string | null;
  /** Of the weights, by parameters and bits per weight; the hub tells the true size when they are pulled. */
  estimatedBytes: number;
  placement: 'cpu' | 'gpu' | 'none' | 'partial';
  /**
   * What fits beside the weights: at most 4,096 for ghost text, 32,768 for chat, 8,192 otherwise, and what the model
   * was trained for.
   */
  contextTokens: number;
  scores: Scores;
  /** The scores together, 0 to 100; it orders only what is otherwise equal (place, speed, first choice). */
  total: number;
  /** Sentences for people. */
  reasons: string[];
  /** Of its file, as in `ModelEntry`; null: it is not here. */
  installedPath: string | null;
}

/** Which model to delete. */
export interface RemoveModelParams {
  /** Of one that was downloaded by botframework; as in `ModelEntry`. */
  path: string;
}

/** What one role's requests are served by. */
export interface RoleModel {
  role: 'chat' | 'embed' | 'fim' | 'rerank';
  /** Empty until its file was looked at. */
  name: string;
  path: string;
  state: 'error' | 'loading' | 'paused' | 'ready' | 'restarting' | 'sleeping' | 'starting' | 'stopped';
  loadPercent: number;
  /** 0: there is none. Roles with the same model share a worker. */
  workerPid: number;
}

/**
 * How to choose a token. Temperature 0 is greedy and ignores every other field but the penalties and the biases. The
 * chain is: logit_bias, penalties, top_k, infill, top_p, min_p, temperature, draw. top_k comes before every other
 * filter because sorting a whole 150k vocabulary costs 10 ms a token.
 */
export interface Sampling {
  temperature?: number;
  /** 0 keeps 1,000 candidates, the largest number that later filters still handle quickly. */
  topK?: number;
  topP?: number;
  minP?: number;
  repeatPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  /** How many generated tokens the penalties look back on; the prompt is never penalised. */
  penaltyLastN?: number;
  /** None draws a fresh seed. */
  seed?: number | null;
  /** Token id (as a string, JSON knows no other key) to an addition to its logit; -100 forbids the token. */
  logitBias?: { [key: string]: number };
  /** llama.cpp's infill sampler: merges candidates that are prefixes of one another and ends a middle earlier. */
  infill?: boolean;
}

/** From 0 to 100, more is better; null is unknown. */
export interface Scores {
  /** How much memory the weights leave. */
  size: number;
  /** Whether this number format has the room that it needs. */
  precision: number;
  /** How much context fits beside the weights. */
  kv: number;
  /** By the bandwidth of the memory that the weights come to lie in. */
  performance: number | null;
  /** Published accuracy for its size; null where none is published. */
  density: number | null;
}

/** What several editors show beside the server's name. */
export interface ServerStatus {
  health: 'error' | 'ok' | 'warning';
  /** Whether nothing is going on in the background: false while the model loads. */
  quiescent: boolean;
  message: string;
}

/** One KV session. */
export interface SessionInfo {
  session: string;
  context: 'chat' | 'fim';
  tokens: number;
  busy: boolean;
  idleS: number;
  where: 'disk' | 'kv' | 'memory';
  /** Of the state; for one in the KV cache, of its share of the cells. */
  bytes: number;
}

/** The sessions of this client. */
export interface SessionsResult {
  sessions: SessionInfo[];
}

/** A suggestion, as it was sent to the client. */
export interface ShownItem {
  insertText?: string;
  range?: Range | null;
  command?: ItemCommand | null;
}

/** Everything that an editor may show about the daemon. Sizes are bytes; null is unknown, or there is none. */
export interface Snapshot {
  /** Of the model that completes code, as are name, path, progress, worker and error; `models` has all. */
  state: 'error' | 'loading' | 'paused' | 'ready' | 'restarting' | 'sleeping' | 'starting' | 'stopped';
  modelName: string;
  modelPath: string;
  loadPercent: number;
  /** By role. */
  models: RoleModel[];
  /** Of all GPUs together, by all programs. */
  vramUsed: number | null;
  vramTotal: number | null;
  devices: DeviceMemory[];
  /** Of the whole machine. */
  ramUsed: number;
  ramTotal: number;
  /** This process. */
  daemonRss: number;
  /** The workers, which other windows may use too; a mapped model file counts as far as it has been touched. */
  workerRss: number;
  /** 0: there is none. */
  workerPid: number;
  /** Windows that share the worker. */
  clients: number;
  /** In the KV caches of this daemon's workers, as the next two. */
  kvTokens: number;
  kvCells: number;
  /** What their cells take, used or not; null is unknown. */
  kvBytes: number | null;
  /**
   * Whether the model's KV cache can drop its last tokens; false: a session whose text does not only grow is read
   * again, from a checkpoint if there is one. Null: no model is loaded.
   */
  canCutTail: boolean | null;
  queued: number;
  running: number;
  /** Of the last second in which tokens were generated. */
  tokensPerSecond: number;
  /** Of this daemon's last answer; 0 when there was none. */
  lastFirstTokenMs: number;
  /** Since the worker's start, for all windows. */
  promptTokensRead: number;
  /** Since the worker's start: tokens that nobody waited for, such as prefetch. */
  backgroundTokensRead: number;
  /** Since the worker's start: prompt tokens of chats that have to be read again because a completion came first. */
  chatTokensDiscarded: number;
  /** Since the worker's start. */
  tokensGenerated: number;
  /** Null: there is none, or nobody can tell. */
  battery: Battery | null;
  /** Of this window and of others. */
  downloads: Download[];
  suggestionsShownToday: number;
  suggestionsAcceptedToday: number;
  logFile: string;
  /**
   * What a person should know of: a context that was made smaller for want of memory, a GPU that came or is gone; or
   * empty.
   */
  notice: string;
  /** Set in the states `error` and `restarting`. */
  error: Problem | null;
}

/** The `value` of a `$/progress` notification for a `partialResultToken`. */
export interface StreamValue {
  kind: 'token';
  /** Whole characters; of several tokens when the client reads more slowly than the model writes. */
  text: string;
  /**
   * The number of the first token in `text` within the answer, from 0; a gap to the one before tells how many came
   * together.
   */
  index: number;
}

/** Edits of one version of one document. */
export interface TextDocumentEdit {
  textDocument: VersionedTextDocumentIdentifier;
  edits: TextEdit[];
}

/** An open document. */
export interface TextDocumentIdentifier {
  uri: string;
}

/** New text for a range. */
export interface TextEdit {
  range: Range;
  newText: string;
}

/** Milliseconds of one answer, from the arrival of its request at the worker. */
export interface Timings {
  queueMs: number;
  /** To the first token; 0 when there was none. */
  firstTokenMs: number;
  /** Spent in reading the prompt. */
  promptMs: number;
  /** Spent in generating. */
  decodeMs: number;
}

/** Token counts of one answer. */
export interface Usage {
  promptTokens: number;
  /** Prompt tokens that were already in the KV cache. */
  cachedTokens: number;
  /** Prompt tokens read for this session since its previous answer, whoever asked for them. */
  evaluatedTokens: number;
  completionTokens: number;
}

/** A document in one of its versions. */
export interface VersionedTextDocumentIdentifier {
  uri: string;
  version: number;
}

/** The LSP's `WorkspaceEdit`, as far as the daemon uses it. */
export interface WorkspaceEdit {
  /** Of one document; empty when the new text is the old one. */
  documentChanges: TextDocumentEdit[];
}
