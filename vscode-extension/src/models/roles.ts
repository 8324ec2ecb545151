/** What models are for, as far as the extension has a use for them, and the settings behind it. Pure. */
import type { ModelEntry, RoleModel } from '../protocol.ts';

export type ServedRole = 'fim' | 'chat';

export const ROLE_WORDS: Readonly<Record<ServedRole, string>> = { fim: 'ghost text', chat: 'chat and edits' };
export const SERVED_ROLES = Object.keys(ROLE_WORDS) as readonly ServedRole[];

export function isServed(role: RoleModel['role']): role is ServedRole {
  return Object.hasOwn(ROLE_WORDS, role);
}

/** As in `for ghost text, chat and edits`. */
export function forRoles(roles: readonly ServedRole[]): string {
  return `for ${roles.map((role) => ROLE_WORDS[role]).join(', ')}`;
}

/** What a model does; empty where it does all or nothing. */
export function servedRoles(entry: ModelEntry, serving: readonly RoleModel[]): ServedRole[] {
  const served = serving.flatMap(({ role, path }) => (isServed(role) ? [{ role, path }] : []));
  const own = served.filter(({ path }) => path === entry.path);
  return own.length === served.length ? [] : own.map(({ role }) => role);
}

/**
 * The settings that make the next daemon load the model for these roles; undefined takes one away.
 *
 * The embedded model is never named: its path changes with every version of the program that brings it. It is what serves
 * where nothing is set, so what the other roles have by `model` becomes theirs by name.
 *
 * @param roles - empty: for everything, also where another model was set apart for a role
 * @param present - the user's settings as they are
 */
export function chosenSettings(
  model: Pick<ModelEntry, 'path' | 'embedded'>,
  roles: readonly ServedRole[],
  present: ReadonlyMap<string, unknown>,
): Record<string, string | undefined> {
  const chosen = model.embedded ? undefined : model.path;
  if (roles.length === 0) {
    return { model: chosen, 'models.fim': undefined, 'models.chat': undefined };
  }
  const named = (setting: string): string | undefined => {
    const value = present.get(setting);
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const wanted: Record<string, string | undefined> = model.embedded ? { model: undefined } : {};
  for (const role of SERVED_ROLES) {
    const setting = `models.${role}`;
    if (roles.includes(role)) {
      wanted[setting] = chosen;
    } else if (model.embedded) {
      wanted[setting] = named(setting) ?? named('model');
    }
  }
  return wanted;
}
