/**
 * From VS Code's settings to what the daemon is told. Pure: `configuration.ts` reads VS Code.
 *
 * Two ways lead to the daemon, as PROTOCOL.md has them: what only the user may choose (files, processes, memory, what is
 * kept on disk) goes with `initialize`, behaviour is the answer to `workspace/configuration`, and so may change at any
 * time. Only what somebody set is sent: a default of ours must not beat the user's botframework.toml.
 */

/** The extension's own settings; every other one of the section is the daemon's. */
export const OWN_KEYS: ReadonlySet<string> = new Set(['path', 'interpreter', 'enable', 'trace.server']);
/** Those that name a model: one that cannot be used is an error of the daemon's, so it hears of wrong values too. */
const MODEL_KEYS: ReadonlySet<string> = new Set([
  'model',
  'models.fim',
  'models.chat',
  'models.embed',
  'models.rerank',
]);
/** Sent with `initialize`, although a workspace may change it: a workspace may only switch it off. */
const ONLY_OFF = 'sessions.snapshots';
/** The key of {@link Enablement} for every language that has none of its own. */
export const EVERY_LANGUAGE = '*';

/** A property of package.json's `contributes.configuration`, as far as it is checked here. */
export interface Property {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly scope?: string;
}

/** Where a setting is set, and to what. */
export interface Inspected {
  readonly globalValue?: unknown;
  readonly workspaceValue?: unknown;
  readonly workspaceFolderValue?: unknown;
}

/** Everything that is known about one setting; `key` is without the section's name. */
export interface Setting {
  readonly key: string;
  readonly property: Property;
  readonly inspected: Inspected;
}

/** A value that cannot be used, and why. */
export interface Refusal {
  readonly key: string;
  /** As in `must be a whole number, not "many"`. */
  readonly message: string;
}

/** Language identifier, or `*`, to whether suggestions appear. */
export type Enablement = Readonly<Record<string, boolean>>;

/** A tree of settings as the daemon takes it: `{completion: {maxTokens: 64}}`. */
export type Tree = Record<string, unknown>;

/** What counts of a setting: a workspace is heard when it is trusted, and never on what belongs to the machine. */
export function explicitValue(setting: Setting, trusted: boolean): unknown {
  const { globalValue, workspaceValue, workspaceFolderValue } = setting.inspected;
  if (!trusted || isMachine(setting)) {
    return globalValue;
  }
  return workspaceFolderValue ?? workspaceValue ?? globalValue;
}

/** `initializationOptions`. */
export function startOptions(settings: readonly Setting[], trusted: boolean): Tree {
  const tree: Tree = { workspaceTrusted: trusted };
  for (const setting of settings) {
    if (OWN_KEYS.has(setting.key) || !(isMachine(setting) || setting.key === ONLY_OFF)) {
      continue;
    }
    const value = setting.inspected.globalValue;
    if (isSet(value) && (MODEL_KEYS.has(setting.key) || check(setting.property, value) === undefined)) {
      put(tree, setting.key, value);
    }
  }
  return tree;
}

/** The answer to `workspace/configuration`. */
export function behaviour(settings: readonly Setting[], trusted: boolean): Tree {
  const tree: Tree = {};
  for (const setting of settings) {
    const value = explicitValue(setting, trusted);
    if (
      OWN_KEYS.has(setting.key) ||
      isMachine(setting) ||
      !isSet(value) ||
      check(setting.property, value) !== undefined
    ) {
      continue;
    }
    if (setting.key !== ONLY_OFF || value === false) {
      put(tree, setting.key, value);
    }
  }
  if (!isEnabledSomewhere(enablement(settings, trusted))) {
    // Then the daemon reads nothing ahead either.
    put(tree, 'completion.enabled', false);
  }
  return tree;
}

/** What is set and cannot be used, in the order of the settings. Models are not among it: the daemon tells that. */
export function refusals(settings: readonly Setting[], trusted: boolean): Refusal[] {
  return settings.flatMap((setting) => {
    const value = explicitValue(setting, trusted);
    const message = isSet(value) && !MODEL_KEYS.has(setting.key) ? check(setting.property, value) : undefined;
    return message === undefined ? [] : [{ key: setting.key, message }];
  });
}

/** Where suggestions appear: what the workspace says about a language goes over what the user says. */
export function enablement(settings: readonly Setting[], trusted: boolean): Enablement {
  const setting = settings.find((each) => each.key === 'enable');
  const { globalValue, workspaceValue, workspaceFolderValue } = setting?.inspected ?? {};
  const layers = trusted ? [globalValue, workspaceValue, workspaceFolderValue] : [globalValue];
  const merged: Record<string, boolean> = { [EVERY_LANGUAGE]: true };
  for (const layer of layers) {
    for (const [language, on] of isObject(layer) ? Object.entries(layer) : []) {
      if (typeof on === 'boolean') {
        merged[language] = on;
      }
    }
  }
  return merged;
}

/** The daemon's own switch, which also stops what it does ahead. */
export function isCompletionEnabled(settings: readonly Setting[], trusted: boolean): boolean {
  const setting = settings.find((each) => each.key === 'completion.enabled');
  return setting === undefined || explicitValue(setting, trusted) !== false;
}

export function isEnabledFor(enabled: Enablement, language: string): boolean {
  return (Object.hasOwn(enabled, language) ? enabled[language] : enabled[EVERY_LANGUAGE]) ?? true;
}

function isEnabledSomewhere(enabled: Enablement): boolean {
  return Object.values(enabled).some((on) => on);
}

/** What the user set, whatever a workspace says about it. */
export function userValues(settings: readonly Setting[]): ReadonlyMap<string, unknown> {
  return new Map(settings.map(({ key, inspected }) => [key, inspected.globalValue]));
}

/** Of the user's settings that are to be so, those that are not; undefined: it is to be unset. */
export function differing(
  settings: readonly Setting[],
  wanted: Readonly<Record<string, unknown>>,
): (readonly [key: string, value: unknown])[] {
  const present = userValues(settings);
  return Object.entries(wanted).filter(([key, value]) => present.get(key) !== value);
}

/** Why a value cannot be used; undefined: it can. */
export function check(property: Property, value: unknown): string | undefined {
  const types = typeof property.type === 'string' ? [property.type] : (property.type ?? []);
  if (types.length > 0 && !types.some((type) => isOfType(value, type))) {
    return `must be ${types.map((type) => TYPE_NAMES[type] ?? type).join(' or ')}, not ${shown(value)}`;
  }
  if (property.enum !== undefined && !property.enum.includes(value)) {
    return `must be one of ${property.enum.map(shown).join(', ')}, not ${shown(value)}`;
  }
  if (typeof value === 'number') {
    const { minimum, maximum } = property;
    if ((minimum !== undefined && value < minimum) || (maximum !== undefined && value > maximum)) {
      return `must be ${limits(minimum, maximum)}, not ${shown(value)}`;
    }
  }
  if (typeof value === 'string' && property.maxLength !== undefined && value.length > property.maxLength) {
    return `must have at most ${property.maxLength} characters`;
  }
  if (types.includes('object') && isObject(value)) {
    const wrong = Object.entries(value).find(([, each]) => typeof each !== 'boolean');
    return wrong === undefined ? undefined : `must be true or false for ${shown(wrong[0])}, not ${shown(wrong[1])}`;
  }
  return undefined;
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  boolean: 'true or false',
  integer: 'a whole number',
  number: 'a number',
  string: 'a text',
  object: 'a table',
  null: 'null',
};
/** Characters of a wrong value that a message shows. */
const SHOWN_CHARS = 40;

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'integer':
      return Number.isInteger(value);
    case 'number':
      return typeof value === 'number' && Number.isFinite(value);
    case 'object':
      return isObject(value);
    default:
      return typeof value === type;
  }
}

function limits(minimum: number | undefined, maximum: number | undefined): string {
  if (minimum === undefined) {
    return `at most ${String(maximum)}`;
  }
  return maximum === undefined ? `at least ${minimum}` : `${minimum} to ${maximum}`;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS - 1)}…` : text;
}

/** An empty text is how the settings editor says "not set". */
function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== '';
}

function isMachine(setting: Setting): boolean {
  return setting.property.scope === 'machine' || setting.property.scope === 'application';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function put(tree: Tree, key: string, value: unknown): void {
  const names = key.split('.');
  const last = names.pop() ?? key;
  let place = tree;
  for (const name of names) {
    place = (place[name] ??= {}) as Tree;
  }
  place[last] = value;
}
