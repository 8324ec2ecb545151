/** What models are for, as far as the extension has a use for them, and the settings behind it. Pure. */
import type { ModelEntry, RoleModel } from '../protocol.ts';

export type ServedRole = 'fim' | 'chat';

export const SERVED_ROLES: readonly ServedRole[] = ['fim', 'chat'];
export const ROLE_WORDS: Readonly<Record<ServedRole, string>> = { fim: 'ghost text', chat: 'chat and edits' };

export function isServed(role: RoleModel['role']): role is ServedRole {
  return role === 'fim' || role === 'chat';
}

/** What a model does, in words; empty where it does all or nothing. */
export function servedRoles(entry: ModelEntry, serving: readonly RoleModel[]): string[] {
  const served = serving.filter(({ role }) => isServed(role));
  const own = served.filter(({ path }) => path === entry.path);
  return own.length === served.length ? [] : own.flatMap(({ role }) => (isServed(role) ? [ROLE_WORDS[role]] : []));
}

/**
 * The settings that make the next daemon load the model for these roles; undefined takes one away.
 *
 * @param roles - empty: for everything, also where another model was set apart for a role
 */
export function chosenSettings(
  model: Pick<ModelEntry, 'path' | 'embedded'>,
  roles: readonly ServedRole[],
): Record<string, string | undefined> {
  return roles.length === 0
    ? { model: model.embedded ? undefined : model.path, 'models.fim': undefined, 'models.chat': undefined }
    : Object.fromEntries(roles.map((role) => [`models.${role}`, model.path]));
}
