/* Checks that hold for every backend, then the backend's own. */
#include "store/store.h"

#include <string.h>

#include "base/mem.h"
#include "namespace/name.h"
#include "store/backend.h"

static const ae_backend *const backends[] = {
    &ae__memory_backend,
    &ae__sqlite_backend,
    &ae__jetstream_backend,
};

/* The backend of a URL, and what follows its scheme's colon. */
static const ae_backend *backend_for(const char *url, const char **path,
                                     ae_error *err) {
  for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
    size_t len = strlen(backends[i]->scheme);
    if (strncmp(url, backends[i]->scheme, len) != 0) continue;
    if (url[len] != '\0' && url[len] != ':') continue;
    *path = url + len + (url[len] == ':');
    return backends[i];
  }
  ae_error_set(err, AE_USAGE,
               "\"%s\" names no store that this version opens; it opens "
               "memory, sqlite:FILE and nats://HOST:PORT",
               url);
  return NULL;
}

ae_status ae_store_open(ae_loop *loop, const ae_store_options *options,
                        ae_store **out, ae_error *err) {
  const char *path;
  const ae_backend *backend = backend_for(options->url, &path, err);
  *out = NULL;
  return backend ? backend->open(loop, options, path, out, err) : AE_USAGE;
}

void ae_store_close(ae_store *store, void (*cb)(void *data), void *data) {
  AE_ASSERT(!store->closing);
  if (store->corked > 0) store->backend->flush(store);
  store->closing = true;
  store->backend->close(store, cb, data);
}

const char *ae_store_promise(const ae_store *store) {
  return store->backend->promise;
}

void ae__key_of(ae__key *key, const ae_ref *ref) {
  char *at = key->bytes;
  memcpy(at, ref->ns.ptr, ref->ns.len);
  at += ref->ns.len;
  *at++ = '/';
  memcpy(at, ref->type.ptr, ref->type.len);
  at += ref->type.len;
  *at++ = '/';
  memcpy(at, ref->id.ptr, ref->id.len);
  key->len = (size_t)(at - key->bytes) + ref->id.len;
}

ae_ref ae__key_ref(ae_str key) {
  const char *end = key.ptr + key.len;
  const char *type = memchr(key.ptr, '/', key.len);
  if (!type) return (ae_ref){.id = key};
  const char *id = memchr(type + 1, '/', (size_t)(end - type - 1));
  if (!id) return (ae_ref){.id = key};
  return (ae_ref){.ns = {key.ptr, (size_t)(type - key.ptr)},
                  .type = {type + 1, (size_t)(id - type - 1)},
                  .id = {id + 1, (size_t)(end - id - 1)}};
}

/* -- checks -- */

static ae_status usable(const ae_store *store, ae_error *err) {
  if (!store->closing) return AE_OK;
  ae_error_set(err, AE_STORE_UNAVAILABLE, "the store is closing");
  ae_error_cstr(err, "cause", "closing");
  return AE_STORE_UNAVAILABLE;
}

static ae_status writable(const ae_store *store, ae_error *err) {
  if (store->mode == AE_STORE_WRITE) return usable(store, err);
  ae_error_set(err, AE_STORE_UNAVAILABLE,
               "the store was opened for reading only");
  ae_error_cstr(err, "cause", "read only");
  return AE_STORE_UNAVAILABLE;
}

/* What a key relies on; the rules of names are their owner's. */
static bool fits(ae_str name, size_t max) {
  return name.len >= 1 && name.len <= max;
}

static bool part(ae_str name, size_t max) {
  return fits(name, max) && !memchr(name.ptr, '/', name.len);
}

static ae_status named(const ae_ref *ref, ae_error *err) {
  if (part(ref->ns, AE_NAMESPACE_MAX) && part(ref->type, AE_TYPE_MAX) &&
      fits(ref->id, AE_ID_MAX))
    return AE_OK;
  return ae_error_set(err, AE_INVALID_NAME, "\"%.*s/%.*s/%.*s\" names no actor",
                      AE_FMT(ref->ns), AE_FMT(ref->type), AE_FMT(ref->id));
}

static ae_status spaced(ae_str ns, ae_error *err) {
  if (part(ns, AE_NAMESPACE_MAX)) return AE_OK;
  return ae_error_set(err, AE_INVALID_NAME, "\"%.*s\" is no namespace",
                      AE_FMT(ns));
}

#define CHECK(call)                         \
  do {                                      \
    ae_status checked_ = (call);            \
    if (checked_ != AE_OK) return checked_; \
  } while (0)

/* -- writes -- */

size_t ae_store_record_max(const ae_store *store) {
  size_t most =
      store->backend->record_max ? store->backend->record_max(store) : SIZE_MAX;
  return most < AE_RECORD_MAX ? most : AE_RECORD_MAX;
}

ae_status ae_store_append(ae_store *store, ae_append *append, ae_error *err) {
  CHECK(writable(store, err));
  CHECK(named(&append->ref, err));
  if (append->record.len > AE_RECORD_MAX) {
    ae_error_set(err, AE_TOO_LARGE,
                 "a commit of %zu bytes to %.*s/%.*s/%.*s; at most %u fit: "
                 "make the events smaller, or fewer at a time",
                 append->record.len, AE_FMT(append->ref.ns),
                 AE_FMT(append->ref.type), AE_FMT(append->ref.id),
                 AE_RECORD_MAX);
    ae_error_uint(err, "limit", AE_RECORD_MAX);
    return AE_TOO_LARGE;
  }
  if (append->record.len == 0)
    return ae_error_set(err, AE_MALFORMED, "a commit without a record");
  append->error = (ae_error){0};
  return store->backend->append(store, append, err);
}

void ae__store_wrote(ae_store *store, ae_status status, const ae_error *err) {
  if (status == store->failed.status) return;
  bool failed = status == AE_STORE_UNAVAILABLE || status == AE_STORE_FULL ||
                status == AE_STORE_UNCERTAIN;
  if (status != AE_OK && !failed) return; /* the store did as it should */
  ae_error_clear(&store->failed);
  if (!failed) return;
  ae_error_copy(&store->failed, err);
  store->failed.status = status;
}

/* The callback may free the request. */
void ae__append_answer(ae_store *store, ae_append *append) {
  ae_error error = append->error;
  ae__store_wrote(store, append->status, &append->error);
  append->cb(append);
  ae_error_clear(&error);
}

void ae_store_cork(ae_store *store) {
  store->corked++;
}

void ae_store_uncork(ae_store *store) {
  AE_ASSERT_CMP(store->corked, >, 0);
  if (--store->corked == 0 && !store->closing) store->backend->flush(store);
}

ae_status ae_store_save_snapshot(ae_store *store, ae_snapshot_write *snapshot,
                                 ae_error *err) {
  CHECK(writable(store, err));
  CHECK(named(&snapshot->ref, err));
  return store->backend->save_snapshot(store, snapshot, err);
}

ae_status ae_store_put_rows(ae_store *store, ae_rows_write *rows,
                            ae_error *err) {
  CHECK(writable(store, err));
  CHECK(spaced(rows->ns, err));
  return store->backend->put_rows(store, rows, err);
}

ae_status ae_store_trim(ae_store *store, ae_trim *trim, ae_error *err) {
  CHECK(writable(store, err));
  CHECK(spaced(trim->ns, err));
  return store->backend->trim(store, trim, err);
}

ae_status ae_store_probe(ae_store *store, ae_write *write, ae_error *err) {
  CHECK(writable(store, err));
  return store->backend->probe(store, write, err);
}

ae_status ae_store_health(const ae_store *store, ae_error *err) {
  if (store->failed.status != AE_OK) ae_error_copy(err, &store->failed);
  return store->failed.status;
}

void ae__store_clear(ae_store *store) {
  ae_error_clear(&store->failed);
}

ae_status ae__snapshot_refuse(ae_error *err, const ae_ref *ref,
                              uint64_t version) {
  ae_error_set(err, AE_NOT_FOUND,
               "%.*s/%.*s/%.*s has no version %llu to keep a snapshot of",
               AE_FMT(ref->ns), AE_FMT(ref->type), AE_FMT(ref->id),
               (unsigned long long)version);
  ae_error_uint(err, "version", version);
  return AE_NOT_FOUND;
}

ae_status ae__mend_refuse(ae_error *err, const ae_mend *mend,
                          uint64_t version) {
  return ae_conflict_set(err, &mend->ref, mend->latest, version, 1, NULL);
}

ae_status ae__begin_refuse(ae_error *err, const ae_base *base,
                           uint64_t version) {
  ae_conflict_set(err, &base->ref, 0, version, 1, NULL);
  ae_error_add(err, ": it cannot begin after version %llu",
               (unsigned long long)base->version);
  return AE_VERSION_CONFLICT;
}

ae_status ae__rows_refuse(ae_error *err, const ae_rows_write *rows,
                          uint64_t checkpoint) {
  ae_error_set(err, AE_VERSION_CONFLICT,
               "the rows of %.*s/%.*s are at position %llu, %llu was expected: "
               "another writer brought them on",
               AE_FMT(rows->ns), AE_FMT(rows->projection),
               (unsigned long long)checkpoint, (unsigned long long)rows->was);
  ae_error_uint(err, "attempted_version", rows->was);
  ae_error_uint(err, "current_version", checkpoint);
  return AE_VERSION_CONFLICT;
}

/* What was appended before is seen, and goes first. */
static ae_status in_order(ae_store *store, ae_error *err) {
  ae_status status = usable(store, err);
  if (status == AE_OK && store->corked > 0) store->backend->flush(store);
  return status;
}

/* -- reads -- */

ae_status ae_store_read(ae_store *store, ae_read *read, ae_error *err) {
  CHECK(in_order(store, err));
  CHECK(named(&read->ref, err));
  return store->backend->read(store, read, err);
}

static const ae_backend *backend_of(const void *impl) {
  return ((const ae__handle *)impl)->store->backend;
}

void ae_read_more(ae_read *read) {
  backend_of(read->impl)->read_more(read);
}

void ae_read_end(ae_read *read) {
  if (read->impl) backend_of(read->impl)->read_end(read);
}

ae_status ae_store_scan(ae_store *store, ae_scan *scan, ae_error *err) {
  CHECK(in_order(store, err));
  if (scan->ns.ptr) CHECK(spaced(scan->ns, err));
  return store->backend->scan(store, scan, err);
}

void ae_scan_more(ae_scan *scan) {
  backend_of(scan->impl)->scan_more(scan);
}

void ae_scan_end(ae_scan *scan) {
  if (scan->impl) backend_of(scan->impl)->scan_end(scan);
}

ae_status ae_store_lookup(ae_store *store, ae_lookup *lookup, ae_error *err) {
  CHECK(in_order(store, err));
  CHECK(named(&lookup->ref, err));
  return store->backend->lookup(store, lookup, err);
}

ae_status ae_store_load_snapshot(ae_store *store, ae_snapshot_read *read,
                                 ae_error *err) {
  CHECK(in_order(store, err));
  CHECK(named(&read->ref, err));
  return store->backend->load_snapshot(store, read, err);
}

ae_status ae_store_read_rows(ae_store *store, ae_rows_read *read,
                             ae_error *err) {
  CHECK(in_order(store, err));
  CHECK(spaced(read->ns, err));
  return store->backend->read_rows(store, read, err);
}

ae_status ae_store_stats(ae_store *store, ae_stats_read *read, ae_error *err) {
  CHECK(in_order(store, err));
  if (read->ns.ptr) CHECK(spaced(read->ns, err));
  return store->backend->stats(store, read, err);
}

/* -- keep.h -- */

ae_status ae_store_copy(ae_store *store, ae_copy *copy, ae_error *err) {
  CHECK(in_order(store, err));
  return store->backend->copy(store, copy, err);
}

void ae_copy_stop(ae_copy *copy) {
  copy->stopped = true;
}

ae_status ae_store_inspect(ae_store *store, ae_inspect *inspect,
                           ae_error *err) {
  CHECK(in_order(store, err));
  return store->backend->inspect(store, inspect, err);
}

ae_status ae_store_delete(ae_store *store, ae_delete *delete, ae_error *err) {
  CHECK(writable(store, err));
  CHECK(spaced(delete->ns, err));
  CHECK(in_order(store, err));
  return store->backend->drop(store, delete, err);
}

ae_status ae_store_bases(ae_store *store, ae_bases_read *read, ae_error *err) {
  CHECK(in_order(store, err));
  CHECK(spaced(read->ns, err));
  return store->backend->bases(store, read, err);
}

ae_status ae_store_begin(ae_store *store, ae_begin *begin, ae_error *err) {
  CHECK(writable(store, err));
  CHECK(named(&begin->base.ref, err));
  CHECK(in_order(store, err));
  if (begin->base.version == 0 || begin->base.version > INT64_MAX)
    return ae_error_set(
        err, AE_MALFORMED, "%.*s/%.*s/%.*s cannot begin after version %llu",
        AE_FMT(begin->base.ref.ns), AE_FMT(begin->base.ref.type),
        AE_FMT(begin->base.ref.id), (unsigned long long)begin->base.version);
  return store->backend->begin(store, begin, err);
}

ae_status ae_store_mend(ae_store *store, ae_mend *mend, ae_error *err) {
  CHECK(writable(store, err));
  CHECK(named(&mend->ref, err));
  CHECK(in_order(store, err));
  AE_ASSERT(mend->record.len > 0 || mend->until == 0);
  return store->backend->mend(store, mend, err);
}

ae_status ae_store_compact(ae_store *store, ae_write *write, ae_error *err) {
  CHECK(writable(store, err));
  CHECK(in_order(store, err));
  return store->backend->compact(store, write, err);
}

ae_status ae_place_take(const char *url, bool over, ae_place **out,
                        ae_error *err) {
  const char *path;
  const ae_backend *backend = backend_for(url, &path, err);
  *out = NULL;
  if (!backend) return AE_USAGE;
  if (backend->place_take) return backend->place_take(path, over, out, err);
  return ae_error_set(err, AE_USAGE,
                      "the store \"%s\" is no file that another one could "
                      "be put in the place of",
                      url);
}

const char *ae_place_beside(const ae_place *place) {
  return place->backend->place_beside(place);
}

ae_status ae_place_fill(ae_place *place, ae_buf *kept, ae_error *err) {
  return place->backend->place_fill(place, kept, err);
}

void ae_place_free(ae_place *place) {
  if (place) place->backend->place_free(place);
}
