/* An actor whose history cannot be read whole: what is wrong, and what an
 * operator decides. Until then it is read-only (actor_damaged). */
#ifndef AE_NODE_REPAIR_H
#define AE_NODE_REPAIR_H

#include "node/config.h"
#include "store/keep.h"

typedef enum ae_repair_way {
  AE_REPAIR_LOOK,     /* nothing is changed */
  AE_REPAIR_SKIP,     /* in the place of what cannot be read comes a commit that
                         keeps the versions and means nothing */
  AE_REPAIR_TRUNCATE, /* the first that cannot be read goes, with all behind it:
                         the actor is as it was before */
} ae_repair_way;

/* A stretch of its history. */
typedef struct ae_repair_hole {
  uint64_t from, to;     /* versions; to = from - 1: a commit without events */
  uint64_t after, until; /* positions of the commits around it; until 0: none */
  uint64_t records;      /* in it that are there */
  char cause[160];       /* of the first */
} ae_repair_hole;

/* The caller's memory, zeroed before use, kept until `done`. */
typedef struct ae_repair ae_repair;
struct ae_repair {
  ae_ref ref;
  ae_repair_way way;
  const char *side; /* names begin so of the file that keeps what gives way:
                       SIDE.repaired-1.ndjson, a line each: actor, version,
                       events, position, record in base64 */
  const char *node; /* for metadata; may be NULL */
  /* After looking, where something is wrong and is to be changed. False:
   * AE_CANCELED. NULL: yes. */
  bool (*confirm)(ae_repair *repair);
  /* AE_NOT_FOUND: there is no such actor. AE_VERSION_CONFLICT: it has gone on
   * meanwhile. */
  void (*done)(ae_repair *repair, ae_status status, const ae_error *err);
  void *data;
  /* set while it runs */
  ae_repair_hole *holes; /* ae_repair_clear */
  size_t hole_count;
  uint64_t latest;  /* version, when it was looked at */
  uint64_t base;    /* history starts after it */
  uint64_t commits; /* that can be read */
  uint64_t behind;  /* of these, behind the first hole */
  uint64_t removed; /* commits that gave way */
  uint64_t version; /* the actor's, afterwards */
  char *kept;       /* the file; NULL: nothing had to be kept */
  void *impl;       /* private */
};
ae_status ae_repair_start(ae_store *store, ae_repair *repair, ae_error *err);
void ae_repair_clear(ae_repair *repair);

/* Appends one msgpack map: actor, version, base, commits, behind, way ("look",
 * "skip", "truncate"), holes (from, to, records, cause), and where something
 * was changed removed, kept. */
void ae_repair_pack(const ae_repair *repair, ae_buf *out);
/* The word of a way; AE_MALFORMED for none. */
ae_status ae_repair_way_of(ae_str word, ae_repair_way *out, ae_error *err);
/* For `side`: the store's file, or a name in the data folder. The caller's. */
char *ae_repair_side(const ae_config *config);

#endif
