/* One namespace taken in from NDJSON (stream.h), under the same or another
 * name. Ids, command ids and their outcomes, versions, times and metadata stay;
 * positions are the store's own.
 *
 * What the namespace holds must be the beginning of what comes, commit by
 * commit, or nothing is stored: so an import that was interrupted goes on where
 * it was, one that is done again changes nothing, and two namespaces are never
 * mixed. Commits are stored in order and whole. */
#ifndef AE_NODE_IMPORT_H
#define AE_NODE_IMPORT_H

#include "store/keep.h"

/* -- a look at a file that can be read twice: is it whole? Zeroed before. -- */
typedef struct ae_import_check {
  uint64_t sum, lines;
  bool ended;
} ae_import_check;
/* AE_MALFORMED: it was cut or changed. */
ae_status ae_import_check_line(ae_import_check *check, ae_str line,
                               ae_error *err);
ae_status ae_import_check_end(const ae_import_check *check, ae_error *err);

/* -- the import -- */
typedef struct ae_import_counts {
  uint64_t lines;
  uint64_t begins, commits, events, bases; /* that came */
  uint64_t present; /* of the commits, those that were there already */
  uint64_t beyond;  /* commits that the namespace holds besides, at the end */
} ae_import_counts;

/* The caller's memory, zeroed before use, kept until `done`. */
typedef struct ae_import ae_import;
struct ae_import {
  ae_str ns;
  void (*more)(ae_import *import); /* the next line, please */
  /* Once. AE_MALFORMED: a line is wrong, or the stream was cut;
   * AE_VERSION_CONFLICT: the namespace holds something else. */
  void (*done)(ae_import *import, ae_status status, const ae_error *err);
  void *data;
  /* set while it runs */
  ae_import_counts counts;
  uint64_t total; /* commits that are to come; 0: not known yet */
  void *impl;     /* private */
};
void ae_import_start(ae_loop *loop, ae_store *store, ae_import *import);
/* Without its newline. True: the next may come at once; false: after `more`, or
 * none after `done`. Nothing is called back within. */
bool ae_import_line(ae_import *import, ae_str line);
/* There are no more lines. */
void ae_import_end(ae_import *import);
/* No more lines; `done` comes with AE_CANCELED once what is under way is
 * answered. */
void ae_import_stop(ae_import *import);

#endif
