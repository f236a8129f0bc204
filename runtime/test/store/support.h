/* What the tests of the store share: a world with a loop and an open store,
 * and requests that run the loop until they are answered. */
#ifndef AE_TEST_STORE_SUPPORT_H
#define AE_TEST_STORE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/keep.h"
#include "store/replay.h"

/* Which backend the suite is run on. */
struct fixture {
  const char *name;
  bool durable; /* a store that is opened again holds what it held */
  /* A URL of a store that is not there yet, and what removes it for good. */
  void (*make)(char *url, size_t size);
  void (*drop)(const char *url);
  /* More for opening; may be NULL. */
  void (*prepare)(const char *url, ae_store_options *options);
  bool shared; /* has many writers, and positions for each namespace */
};

struct world {
  const struct fixture *fixture;
  ae_loop loop;
  ae_store *store;
  ae_uuid7 uuids;
  int64_t time; /* of the next record */
  char url[512];
  size_t page; /* what read_all and scan_all ask for; 0: nothing */
};

struct world *world_new(const struct fixture *fixture);
void world_free(struct world *world); /* closes the store, drops it */
void world_open(struct world *world, ae_store_mode mode);
void world_close(struct world *world);
void world_reopen(struct world *world);
/* Runs the loop until *flag; fails the test after a good while. */
void world_until(struct world *world, const bool *flag);
/* Everything that runs without waiting for another thread or process. */
void world_turn(struct world *world);

ae_ref ref_of(const char *text); /* NAMESPACE/TYPE/ID, literals only */

/* A record of `events` events whose data is {n: first_version + i}, `ids` of
 * its commands, `count` of them. `fill` bytes more in the first event. */
void record_make(struct world *world, ae_buf *out, ae_ref ref,
                 uint64_t first_version, uint32_t events,
                 const char *const *ids, uint32_t count, size_t fill);

struct outcome {
  ae_append append;
  ae_error error; /* a copy */
  bool done;
  unsigned calls;
};

/* Without waiting. `outcome` lives until it is done; outcome_clear then. */
void append_start(struct world *world, struct outcome *outcome,
                  const char *actor, uint64_t expected, uint32_t events,
                  const char *id, size_t fill);
/* As above with bytes of one's own as record. */
void append_raw(struct world *world, struct outcome *outcome, const char *actor,
                uint64_t expected, uint32_t events, uint32_t ids,
                ae_str record);
void outcome_clear(struct outcome *outcome);
/* Waits; must be AE_OK; gives the position. */
uint64_t append_ok(struct world *world, const char *actor, uint64_t expected,
                   uint32_t events, const char *id);
/* Waits; gives the status. */
ae_status append_try(struct world *world, const char *actor, uint64_t expected,
                     uint32_t events, const char *id);
/* `count` commits of one event, corked by 512. */
void append_many(struct world *world, const char *actor, uint64_t expected,
                 uint32_t count);

/* One commit as a test keeps it. */
struct kept {
  char actor[400];
  uint64_t position, first_version, base;
  uint32_t events;
};
struct kept_list {
  struct kept *at;
  size_t count, cap;
  size_t pages;
  ae_status status; /* of the last page */
  bool end;
  uint64_t latest, base;
  size_t events;  /* given by replay */
  size_t damaged; /* reported by replay */
};
void kept_clear(struct kept_list *list);
/* Whole reads and scans; each record is replayed too. */
void read_all(struct world *world, const char *actor, uint64_t from,
              uint64_t to, struct kept_list *out);
void scan_all(struct world *world, const char *ns, uint64_t after,
              uint64_t until, struct kept_list *out);
void kept_page(struct kept_list *list, ae_status status, const ae_page *page);

/* The actor's version; the id's position and record length by the pointers. */
uint64_t lookup_of(struct world *world, const char *actor, const char *id,
                   uint64_t *position, size_t *record);
ae_stats stats_of(struct world *world, const char *ns);

ae_status snapshot_save(struct world *world, const char *actor,
                        uint64_t version, int64_t shape, const char *state,
                        bool base);
/* The version found, 0: none; state copied to `state`, 64 bytes. */
uint64_t snapshot_load(struct world *world, const char *actor, uint64_t at_most,
                       int64_t shape, char *state, bool *base);
/* The newest, where a base of another shape does not count either. */
uint64_t snapshot_fitting(struct world *world, const char *actor,
                          int64_t shape);

ae_status rows_put(struct world *world, const char *ns, const char *projection,
                   const ae_row *rows, uint32_t count, uint64_t was,
                   uint64_t checkpoint);
/* "key=value key=value …" of what is found. */
void rows_get(struct world *world, const ae_rows_read *how, char *out,
              size_t size, uint64_t *checkpoint);

ae_status probe_of(struct world *world);

ae_status trim_of(struct world *world, const char *ns, int64_t before,
                  uint64_t bytes, uint64_t *trimmed, uint64_t *left);
/* Ended after its first part. */
void trim_ended(struct world *world, const char *ns, uint64_t bytes,
                uint64_t *trimmed, uint64_t *left);

/* A line for each base: "ACTOR VERSION/SHAPE STATE", " begins" where it does,
 * and " COUNT:SUM" of the ids' hashes. */
ae_status bases_of(struct world *world, const char *ns, ae_buf *out);
/* As in ae_mend; the record is made of `events` events. */
struct mending {
  uint64_t latest, after, until, version;
  uint32_t events;
  bool truncate;
  uint64_t position, removed; /* set */
};
ae_status mend_of(struct world *world, const char *actor,
                  struct mending *mending);
ae_status begin_of(struct world *world, const char *actor, uint64_t version,
                   const char *state, const char *const *ids, uint32_t count);
/* What there was, in `was`, which may be NULL. */
ae_status delete_of(struct world *world, const char *ns, ae_delete *was);
ae_status compact_of(struct world *world);

/* The value of a fact of an error, as text. */
void fact_of(const ae_error *err, const char *key, char *out, size_t size);

#endif
