#include "base/map.h"

#define XXH_INLINE_ALL /* short keys: the call would cost as much as the hash \
                        */
#include <sys/random.h>
#include <xxhash.h>

#include "base/mem.h"

#define LEAST 16 /* slots */

uint64_t ae_hash(ae_str bytes) {
  return XXH3_64bits(bytes.ptr, bytes.len);
}

static uint64_t seed;

/* Before main, so that no map has hashed anything yet. */
__attribute__((constructor)) static void make_seed(void) {
  if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
    seed = (uint64_t)(uintptr_t)&seed; /* early at boot: the address space's */
}

uint64_t ae_map_hash(ae_str key) {
  return XXH3_64bits_withSeed(key.ptr, key.len, seed);
}

static ae_map_slot *find(const ae_map *map, ae_str key, uint64_t hash) {
  if (!map->slots) return NULL;
  for (size_t at = hash & map->mask;; at = (at + 1) & map->mask) {
    ae_map_slot *slot = &map->slots[at];
    if (!slot->key.ptr) return NULL;
    /* A deleted slot's key is not read: its owner may be gone. */
    if (slot->hash == hash && slot->value && ae_str_eq(slot->key, key)) {
      return slot;
    }
  }
}

void *ae_map_get_hashed(const ae_map *map, ae_str key, uint64_t hash) {
  ae_map_slot *slot = find(map, key, hash);
  return slot ? slot->value : NULL;
}

void *ae_map_get(const ae_map *map, ae_str key) {
  return map->count ? ae_map_get_hashed(map, key, ae_map_hash(key)) : NULL;
}

static void place(ae_map *map, ae_str key, uint64_t hash, void *value) {
  size_t at = hash & map->mask;
  while (map->slots[at].key.ptr) at = (at + 1) & map->mask;
  map->slots[at] = (ae_map_slot){hash, key, value};
}

/* At most three quarters in use, the deleted ones counted. */
static void make_room(ae_map *map) {
  size_t slots = map->slots ? map->mask + 1 : 0;
  if (map->used + 1 <= slots - slots / 4) return;
  size_t wanted = LEAST;
  while (map->count + 1 > wanted / 2) wanted *= 2;
  ae_map old = *map;
  map->slots = ae_zalloc(wanted * sizeof *map->slots);
  map->mask = wanted - 1;
  map->used = map->count;
  for (size_t i = 0; i < slots; i++) {
    ae_map_slot *slot = &old.slots[i];
    if (slot->value) place(map, slot->key, slot->hash, slot->value);
  }
  ae_free(old.slots);
}

void *ae_map_put_hashed(ae_map *map, ae_str key, uint64_t hash, void *value) {
  AE_ASSERT(key.ptr != NULL);
  AE_ASSERT(value != NULL);
  ae_map_slot *slot = find(map, key, hash);
  if (slot) {
    void *old = slot->value;
    slot->key = key; /* the old key goes with the old value */
    slot->value = value;
    return old;
  }
  make_room(map);
  place(map, key, hash, value);
  map->count++;
  map->used++;
  return NULL;
}

void *ae_map_put(ae_map *map, ae_str key, void *value) {
  return ae_map_put_hashed(map, key, ae_map_hash(key), value);
}

void *ae_map_remove(ae_map *map, ae_str key) {
  ae_map_slot *slot = find(map, key, ae_map_hash(key));
  if (!slot) return NULL;
  void *old = slot->value;
  size_t next = (size_t)(slot - map->slots + 1) & map->mask;
  if (map->slots[next].key.ptr) {
    slot->value = NULL; /* a probe goes on over it */
  } else {
    *slot = (ae_map_slot){0};
    map->used--;
  }
  map->count--;
  return old;
}

void ae_map_clear(ae_map *map) {
  ae_free(map->slots);
  *map = (ae_map){0};
}

void *ae_map_next(const ae_map *map, size_t *at) {
  while (map->slots && *at <= map->mask) {
    void *value = map->slots[(*at)++].value;
    if (value) return value;
  }
  return NULL;
}
