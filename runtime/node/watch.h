/* Folders watched for saves, with all folders in them. Many files at once are
 * told together, after a quiet period; so is a file that an editor writes by
 * renaming. Folders that come, go and come back are followed. */
#ifndef AE_NODE_WATCH_H
#define AE_NODE_WATCH_H

#include "loop/loop.h"

typedef struct ae_watch ae_watch;

typedef struct ae_watch_options {
  const char *const *folders; /* copied; ends with NULL. One that is not there
                                 is waited for */
  const char *suffix;         /* only names that end so (".lua"); copied */
  unsigned quiet_ms;          /* without a further save, before it is told; 0:
                                 50. Told after 20 times that in any case */
  /* What was saved, made or removed since the last time, each path once, in
   * order: as a folder above, then what is in it. They live until the return.
   * Hidden files and folders (".git") are not told. May close the watch. */
  void (*changed)(void *data, const char *const *paths, size_t count);
  /* One of `folders` is not there any more, or (`there`) is again; of what is
   * in it `changed` tells after that. May be NULL; must not close the watch. */
  void (*moved)(void *data, const char *folder, bool there);
  void *data;
} ae_watch_options;

/* AE_NOT_FOUND where the system watches no further folder, and why. Keeps the
 * loop running until it is closed. */
ae_status ae_watch_open(ae_loop *loop, const ae_watch_options *options,
                        ae_watch **out, ae_error *err);
/* No callback after it. The memory goes once the loop has closed the handles.
 * NULL is harmless. */
void ae_watch_close(ae_watch *watch);

#endif
