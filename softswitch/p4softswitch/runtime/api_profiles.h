/* SPDX-License-Identifier: Apache-2.0 */
/* What the host program calls for action profiles; each call is one step with respect to packets. */
#ifndef P4_API_PROFILES_H
#define P4_API_PROFILES_H

/* Creates or replaces the members of all the handles with one action. */
EXPORT int p4_members_set(struct sw *S, uint32_t profile, const uint32_t *handles, uint32_t count, uint32_t action,
                          const uint64_t *params, uint32_t n_params) {
  struct profile *p = &S->profiles[profile];
  struct member **fresh = calloc(count + 1, sizeof *fresh);
  int rc = fresh ? T_OK : T_MEMORY;
  for (uint32_t i = 0; i < count && rc == T_OK; i++) {
    fresh[i] = malloc(sizeof **fresh + n_params * sizeof *params);
    if (!fresh[i]) { rc = T_MEMORY; break; }
    fresh[i]->action = action;
    if (n_params) memcpy(fresh[i]->params, params, n_params * sizeof *params);
  }
  control_lock(S);
  for (uint32_t i = 0; i < count && rc == T_OK; i++) rc = profile_room((void ***)&p->members, &p->n_members, handles[i]);
  for (uint32_t i = 0; i < count && rc == T_OK; i++) {
    struct member *old = p->members[handles[i]];
    p->members[handles[i]] = fresh[i];
    fresh[i] = old;
  }
  control_unlock(S);
  for (uint32_t i = 0; fresh && i < count; i++) free(fresh[i]);
  free(fresh);
  return rc;
}
EXPORT int p4_member_delete(struct sw *S, uint32_t profile, uint32_t handle) {
  struct profile *p = &S->profiles[profile];
  control_lock(S);
  struct member *old = handle < p->n_members ? p->members[handle] : 0;
  if (old) p->members[handle] = 0;
  control_unlock(S);
  free(old);
  return old ? T_OK : T_NONE;
}
/* Creates, replaces or, without `set`, removes a group. The hash chooses by position. */
EXPORT int p4_member_group(struct sw *S, uint32_t profile, uint32_t handle, const uint32_t *members, uint32_t count, int set) {
  struct profile *p = &S->profiles[profile];
  struct member_group *fresh = 0;
  if (set) {
    fresh = malloc(sizeof *fresh + count * sizeof *members);
    if (!fresh) return T_MEMORY;
    fresh->count = count;
    if (count) memcpy(fresh->handles, members, count * sizeof *members);
  }
  control_lock(S);
  int rc = set ? profile_room((void ***)&p->groups, &p->n_groups, handle) : handle < p->n_groups ? T_OK : T_NONE;
  if (rc == T_OK) {
    struct member_group *old = p->groups[handle];
    p->groups[handle] = fresh;
    fresh = old;
    if (!set && !old) rc = T_NONE;
  }
  control_unlock(S);
  free(fresh);
  return rc;
}
#endif
