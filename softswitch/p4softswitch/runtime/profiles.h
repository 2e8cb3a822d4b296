/* SPDX-License-Identifier: Apache-2.0 */
/* Action profiles: actions with parameters by handle, and groups of them. Whoever names one that is not there gets none. */
#ifndef P4_PROFILES_H
#define P4_PROFILES_H

struct member { uint32_t action; uint64_t params[]; };
struct member_group { uint32_t count, handles[]; };
struct profile {
  struct member **members;
  struct member_group **groups;
  uint32_t n_members, n_groups; /* places, taken or not */
};

/* An entry refers to a handle, and says in the upper half whether it is a group's. */
static inline int member_is_group(uint64_t ref) { return ref >> 32 != 0; }

static inline const struct member *profile_member(const struct profile *p, uint64_t ref, uint32_t hash) {
  uint32_t handle = (uint32_t)ref;
  if (member_is_group(ref)) {
    const struct member_group *g = handle < p->n_groups ? p->groups[handle] : 0;
    if (!g || !g->count) return 0;
    handle = g->handles[hash % g->count];
  }
  return handle < p->n_members ? p->members[handle] : 0;
}

/* Changes: only under the lock of the switch. */

/* Room for a handle in an array of pointers. */
static int profile_room(void ***places, uint32_t *count, uint32_t handle) {
  if (handle < *count) return T_OK;
  uint32_t wanted = *count ? *count : 16;
  while (wanted <= handle) wanted *= 2;
  void **grown = realloc(*places, wanted * sizeof *grown);
  if (!grown) return T_MEMORY;
  memset(grown + *count, 0, (wanted - *count) * sizeof *grown);
  *places = grown;
  *count = wanted;
  return T_OK;
}
static void profile_clear(struct profile *p) {
  for (uint32_t i = 0; i < p->n_members; i++) free(p->members[i]);
  for (uint32_t i = 0; i < p->n_groups; i++) free(p->groups[i]);
  free(p->members);
  free(p->groups);
  memset(p, 0, sizeof *p);
}
#endif
