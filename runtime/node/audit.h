/* A store read whole: does the file hold together, can each record be read, and
 * are there as many as are counted? Without modules. */
#ifndef AE_NODE_AUDIT_H
#define AE_NODE_AUDIT_H

#include "store/keep.h"

typedef struct ae_audit_counts {
  uint64_t commits, events, bytes; /* of records, read */
  uint64_t actors;                 /* as counted */
  uint64_t position;               /* of the last commit */
  uint64_t damaged;                /* records that cannot be read */
  uint64_t total;                  /* commits there are to be read */
} ae_audit_counts;

/* The caller's memory, zeroed before use, kept until `done`. */
typedef struct ae_audit ae_audit;
struct ae_audit {
  void (*progress)(ae_audit *audit); /* after a page; may be NULL */
  /* AE_OK also where something is wrong. AE_CANCELED after ae_audit_stop. */
  void (*done)(ae_audit *audit, ae_status status, const ae_error *err);
  void *data;
  /* set while it runs */
  ae_audit_counts counts;
  ae_buf problem; /* what is wrong, a line each; the caller clears it */
  void *impl;     /* private */
};
ae_status ae_audit_start(ae_store *store, ae_audit *audit, ae_error *err);
void ae_audit_stop(ae_audit *audit);

#endif
