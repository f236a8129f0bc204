/* Actors and namespaces as the store thread has them in memory. */
#include "base/mem.h"
#include "namespace/name.h"
#include "store/backend/sqlite.h"

#define BUCKETS 1024u

ae__head *ae__head_find(const ae__heads *heads, ae_str key, uint64_t hash) {
  if (heads->count == 0) return NULL;
  ae__head *head = heads->by_key[hash & heads->mask];
  while (head && !(head->hash == hash && head->len == key.len &&
                   memcmp(head->key, key.ptr, key.len) == 0))
    head = head->next;
  return head;
}

ae__head *ae__head_find_id(const ae__heads *heads, int64_t id) {
  size_t page = (uint64_t)id / AE__IDS_PAGE;
  if (page >= heads->page_count || !heads->by_id[page]) return NULL;
  return heads->by_id[page]->heads[(uint64_t)id % AE__IDS_PAGE];
}

static void link_key(ae__heads *heads, ae__head *head) {
  ae__head **bucket = &heads->by_key[head->hash & heads->mask];
  head->next = *bucket;
  *bucket = head;
}

static void link_id(ae__heads *heads, ae__head *head) {
  size_t page = (uint64_t)head->id / AE__IDS_PAGE;
  if (page >= heads->page_count) {
    size_t count = page + page / 2 + 16;
    heads->by_id = ae_realloc(heads->by_id, count * sizeof *heads->by_id);
    memset(heads->by_id + heads->page_count, 0,
           (count - heads->page_count) * sizeof *heads->by_id);
    heads->page_count = count;
  }
  if (!heads->by_id[page])
    heads->by_id[page] = ae_zalloc(sizeof *heads->by_id[page]);
  heads->by_id[page]->count++;
  heads->by_id[page]->heads[(uint64_t)head->id % AE__IDS_PAGE] = head;
}

static void grow(ae__heads *heads) {
  size_t old = heads->by_key ? heads->mask + 1 : 0;
  size_t size = old ? 2 * old : BUCKETS;
  ae__head **before = heads->by_key;
  heads->by_key = ae_zalloc(size * sizeof *heads->by_key);
  heads->mask = size - 1;
  heads->hand = 0;
  for (size_t i = 0; i < old; i++) {
    for (ae__head *next, *head = before[i]; head; head = next) {
      next = head->next;
      link_key(heads, head);
    }
  }
  ae_free(before);
}

ae__head *ae__head_make(ae__heads *heads, ae_str key, uint64_t hash,
                        int64_t id) {
  if (!heads->by_key || heads->count > heads->mask) grow(heads);
  ae__head *head = ae_zalloc(sizeof *head + key.len);
  ae_ref ref = ae__key_ref(key);
  memcpy(head->key, key.ptr, key.len);
  head->len = (uint16_t)key.len;
  head->ns_len = (uint8_t)ref.ns.len;
  head->type_len = (uint8_t)ref.type.len;
  head->hash = hash;
  head->id = id;
  head->used = true;
  link_key(heads, head);
  link_id(heads, head);
  heads->count++;
  return head;
}

void ae__head_drop(ae__heads *heads, ae__head *head) {
  ae__head **at = &heads->by_key[head->hash & heads->mask];
  while (*at != head) at = &(*at)->next;
  *at = head->next;
  ae__ids_page **page = &heads->by_id[(uint64_t)head->id / AE__IDS_PAGE];
  (*page)->heads[(uint64_t)head->id % AE__IDS_PAGE] = NULL;
  if (--(*page)->count == 0) {
    ae_free(*page);
    *page = NULL;
  }
  heads->count--;
  ae_free(head);
}

void ae__heads_clear(ae__heads *heads) {
  for (size_t i = 0; heads->by_key && i <= heads->mask; i++) {
    for (ae__head *next, *head = heads->by_key[i]; head; head = next) {
      next = head->next;
      ae_free(head);
    }
  }
  for (size_t i = 0; i < heads->page_count; i++) ae_free(heads->by_id[i]);
  ae_free(heads->by_id);
  ae_free(heads->by_key);
  *heads = (ae__heads){0};
}

/* A clock: who was used since the hand came by stays for another round. */
void ae__heads_sweep(ae__db *db) {
  ae__heads *heads = &db->heads;
  for (size_t steps = 0; heads->count > AE__HEADS_MAX && steps <= heads->mask;
       steps++) {
    ae__head *next, *head = heads->by_key[heads->hand];
    for (; head; head = next) {
      next = head->next;
      if (head->dirty || head->frozen) continue;
      if (head->used) {
        head->used = false;
        continue;
      }
      ae__head_drop(heads, head);
      db->complete = false;
    }
    heads->hand = (heads->hand + 1) & heads->mask;
  }
}

/* -- loading -- */

bool ae__head_names(ae_str key) {
  ae_ref ref = ae__key_ref(key);
  return ref.ns.len > 0 && ref.ns.len <= AE_NAMESPACE_MAX && ref.type.len > 0 &&
         ref.type.len <= AE_TYPE_MAX && ref.id.len > 0 &&
         ref.id.len <= AE_ID_MAX;
}

static ae__head *loaded(ae__db *db, sqlite3_stmt *row, ae_str key,
                        uint64_t hash) {
  ae__head *head =
      ae__head_make(&db->heads, key, hash, sqlite3_column_int64(row, 0));
  head->space = ae__space_get_id(db, sqlite3_column_int64(row, 1));
  if (!head->space)
    head->space =
        ae__space_make(db, ae__key_ref(key).ns, sqlite3_column_int64(row, 1));
  head->version = (uint64_t)sqlite3_column_int64(row, 3);
  head->position = (uint64_t)sqlite3_column_int64(row, 4);
  head->commits = (uint64_t)sqlite3_column_int64(row, 5);
  head->base = (uint64_t)sqlite3_column_int64(row, 6);
  head->ids = sqlite3_column_int64(row, 7) != 0;
  head->stored = true;
  return head;
}

static int load(ae__db *db, sqlite3_stmt *select, ae__head **out) {
  int code = ae__sql_fault("sqlite.read");
  if (code == SQLITE_OK) code = sqlite3_step(select);
  if (code == SQLITE_ROW) {
    ae_str key = {sqlite3_column_blob(select, 2),
                  (size_t)sqlite3_column_bytes(select, 2)};
    int64_t id = sqlite3_column_int64(select, 0);
    bool headed = sqlite3_column_type(select, 3) == SQLITE_INTEGER;
    if (ae__head_names(key) && id > 0 && id < AE__ACTORS_MAX && headed)
      *out = loaded(db, select, key, ae_map_hash(key));
    code = *out ? SQLITE_OK : SQLITE_CORRUPT;
  } else if (code == SQLITE_DONE) {
    code = SQLITE_OK;
  }
  sqlite3_reset(select);
  return code;
}

int ae__head_get(ae__db *db, ae_str key, ae__head **out) {
  return ae__head_get_hashed(db, key, ae_map_hash(key), out);
}

int ae__head_get_hashed(ae__db *db, ae_str key, uint64_t hash, ae__head **out) {
  *out = ae__head_find(&db->heads, key, hash);
  if (*out) {
    (*out)->used = true;
    return SQLITE_OK;
  }
  if (db->complete) return SQLITE_OK;
  sqlite3_stmt *select = ae__sql(db, AE__SQL_ACTOR_BY_KEY);
  sqlite3_bind_blob64(select, 1, key.ptr, key.len, SQLITE_STATIC);
  return load(db, select, out);
}

int ae__head_get_id(ae__db *db, int64_t id, ae__head **out) {
  *out = ae__head_find_id(&db->heads, id);
  if (*out) return SQLITE_OK;
  if (db->complete) return SQLITE_OK;
  sqlite3_stmt *select = ae__sql(db, AE__SQL_ACTOR_BY_ID);
  sqlite3_bind_int64(select, 1, id);
  return load(db, select, out);
}

/* -- namespaces -- */

ae__sql_space *ae__space_get(ae__db *db, ae_str name) {
  return ae_map_get(&db->spaces, name);
}

ae__sql_space *ae__space_get_id(ae__db *db, int64_t id) {
  if (id < 1 || (uint64_t)id >= db->space_cap) return NULL;
  return db->by_space[id];
}

ae__sql_space *ae__space_make(ae__db *db, ae_str name, int64_t id) {
  ae__sql_space *space = ae__space_get(db, name);
  if (space) return space;
  /* A damaged row can name any number: no slot, and nothing is found by it. */
  bool slot = id >= 1 && id <= AE__SPACE_MAX;
  if (slot && id > db->last_space) db->last_space = id;
  space = ae_zalloc(sizeof *space + name.len);
  space->id = id;
  memcpy(space->bytes, name.ptr, name.len);
  space->name = (ae_str){space->bytes, name.len};
  ae_map_put(&db->spaces, space->name, space);
  if (!slot) return space;
  if ((uint64_t)id >= db->space_cap) {
    size_t cap = db->space_cap ? db->space_cap : 16;
    while (cap <= (size_t)id) cap *= 2;
    db->by_space = ae_realloc(db->by_space, cap * sizeof *db->by_space);
    memset(db->by_space + db->space_cap, 0,
           (cap - db->space_cap) * sizeof *db->by_space);
    db->space_cap = cap;
  }
  db->by_space[id] = space;
  return space;
}

void ae__spaces_clear(ae__db *db) {
  ae__sql_space *space;
  for (size_t at = 0; (space = ae_map_next(&db->spaces, &at));) ae_free(space);
  ae_map_clear(&db->spaces);
  ae_free(db->by_space);
  db->by_space = NULL;
  db->space_cap = 0;
  db->last_space = 0;
}
