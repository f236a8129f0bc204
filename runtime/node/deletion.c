/*  stats ─► confirm ─► delete ─► inspect ─► compact ─► inspect ─► done */
#include "node/deletion.h"

#include <sys/statvfs.h>

#include "base/file.h"
#include "base/mem.h"

static void look(ae_deletion *d);

static void on_compact(ae_write *write, ae_status status, const ae_error *err) {
  ae_deletion *d = write->data;
  d->compacted = status == AE_OK;
  if (status != AE_OK && err) ae_error_copy(&d->compact_err, err);
  look(d);
}

/* Twice what remains: SQLite writes it into a file of its own first. */
static bool has_room(ae_deletion *d) {
  char *folder = ae_file_folder(d->file);
  uint64_t wanted = 2 * (d->bytes - d->free) + (1 << 20);
  struct statvfs disk;
  bool known = statvfs(folder, &disk) == 0;
  ae_free(folder);
  uint64_t room = known ? (uint64_t)disk.f_bavail * disk.f_frsize : wanted;
  if (room >= wanted) return true;
  ae_error_set(&d->compact_err, AE_STORE_FULL,
               "%llu MB more are needed on the disk for that",
               (unsigned long long)(wanted - room) / 1000000 + 1);
  return false;
}

static void on_inspect(ae_inspect *inspect, ae_status status,
                       const ae_error *err) {
  ae_deletion *d = inspect->data;
  bool first = d->bytes_was == 0;
  d->bytes = inspect->file_bytes;
  d->free = inspect->free_bytes;
  if (first) d->bytes_was = d->bytes + inspect->log_bytes;
  if (status != AE_OK && first) ae_error_copy(&d->compact_err, err);
  if (status == AE_OK && first && d->free > 0 && d->file && !d->keep_room &&
      has_room(d)) {
    d->compact = (ae_write){.cb = on_compact, .data = d};
    if (ae_store_compact(d->store, &d->compact, &d->compact_err) == AE_OK)
      return;
  }
  d->done(d, AE_OK, NULL);
}

static void look(ae_deletion *d) {
  d->inspect = (ae_inspect){.cb = on_inspect, .data = d};
  if (ae_store_inspect(d->store, &d->inspect, &d->compact_err) != AE_OK)
    d->done(d, AE_OK, NULL);
}

static void on_delete(ae_write *write, ae_status status, const ae_error *err) {
  ae_deletion *d = write->data;
  if (status == AE_OK)
    look(d);
  else
    d->done(d, status, err);
}

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  ae_deletion *d = read->data;
  ae_error why = {0};
  d->stats = read->stats;
  if (status == AE_OK && d->confirm && !d->confirm(d)) {
    status = ae_error_set(&why, AE_CANCELED, "nothing was deleted");
    err = &why;
  }
  if (status == AE_OK) {
    d->request =
        (ae_delete){.write = {.cb = on_delete, .data = d}, .ns = d->ns};
    status = ae_store_delete(d->store, &d->request, &why);
    err = &why;
  }
  if (status != AE_OK) d->done(d, status, err);
  ae_error_clear(&why);
}

ae_status ae_deletion_start(ae_store *store, ae_deletion *deletion,
                            ae_error *err) {
  deletion->store = store;
  deletion->read =
      (ae_stats_read){.ns = deletion->ns, .cb = on_stats, .data = deletion};
  return ae_store_stats(store, &deletion->read, err);
}
