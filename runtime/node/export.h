/* One namespace written as NDJSON (stream.h). */
#ifndef AE_NODE_EXPORT_H
#define AE_NODE_EXPORT_H

#include "store/keep.h"

typedef struct ae_export_counts {
  uint64_t begins, commits, events, bases;
  uint64_t damaged; /* of the commits, those that could not be read */
} ae_export_counts;

/* The caller's memory, zeroed before use, kept until `done`. */
typedef struct ae_export ae_export;
struct ae_export {
  ae_str ns;
  bool skip_damaged; /* in the place of a record that cannot be read comes one
                        that keeps its versions (event/skip.h); else it ends */
  /* Whole lines, newlines too. False: nothing more can be written. */
  bool (*write)(ae_export *export, ae_str lines);
  void (*damaged)(ae_export *export, const ae_error *err); /* with skip_ */
  void (*progress)(ae_export *export);
  /* AE_OK: the last line is written. Else what was written is no whole export,
   * and import refuses it. AE_UNKNOWN_NAMESPACE: the store has nothing of it.
   */
  void (*done)(ae_export *export, ae_status status, const ae_error *err);
  void *data;
  /* set while it runs */
  ae_export_counts counts;
  uint64_t total; /* commits there are */
  void *impl;     /* private */
};
/* The store should be a reader of one moment. */
ae_status ae_export_start(ae_store *store, ae_export *export, ae_error *err);
void ae_export_stop(ae_export *export);

#endif
