/* A hash map from bytes to a pointer: open addressing, XXH3, power-of-two
 * sizes. Keys are not copied: they live in the value's own struct and must not
 * change while the entry is in. Zero-initialised it is empty. */
#ifndef AE_BASE_MAP_H
#define AE_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef struct ae_map_slot {
  uint64_t hash;
  ae_str key; /* key.ptr NULL: empty; value NULL with key: deleted */
  void *value;
} ae_map_slot;

typedef struct ae_map {
  ae_map_slot *slots;
  size_t mask;  /* slots - 1; 0 while slots is NULL */
  size_t count; /* live entries */
  size_t used;  /* live and deleted */
} ae_map;

/* XXH3, the same in every process: for what is stored. */
uint64_t ae_hash(ae_str bytes);
/* What maps hash keys with: XXH3 with a seed that each process draws, so that
 * nobody can send names that all meet in one slot. */
uint64_t ae_map_hash(ae_str key);
void *ae_map_get(const ae_map *map, ae_str key);
/* With a hash that the caller has from ae_map_hash. */
void *ae_map_get_hashed(const ae_map *map, ae_str key, uint64_t hash);
/* For many look-ups side by side, so that their cache misses overlap: first
 * fetch all slots, then guess at what they hold and fetch that, then get. */
static inline void ae_map_fetch(const ae_map *map, uint64_t hash) {
  if (map->slots) __builtin_prefetch(&map->slots[hash & map->mask]);
}
/* What is probably the value; it may be another's, or NULL: not to be read. */
static inline const void *ae_map_guess(const ae_map *map, uint64_t hash) {
  return map->slots ? map->slots[hash & map->mask].value : NULL;
}
/* Sets or replaces; returns the old value or NULL. `key` must outlive it. */
void *ae_map_put(ae_map *map, ae_str key, void *value);
void *ae_map_put_hashed(ae_map *map, ae_str key, uint64_t hash, void *value);
/* Returns what was taken out, or NULL. */
void *ae_map_remove(ae_map *map, ae_str key);
void ae_map_clear(ae_map *map); /* frees the slots, not the values */
/* Iterates in no order: start with *at = 0; NULL at the end. The entry just
 * returned may be removed while iterating; nothing may be added. */
void *ae_map_next(const ae_map *map, size_t *at);

#endif
