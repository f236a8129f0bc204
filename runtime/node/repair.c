/*  read: holes ─► confirm ─► read: the side file, synced ─► mend … ─► done
 *
 * A hole is open from the first record that does not go on where the one before
 * ended, to the first that can be read again and lies behind it. What is asked
 * of the store names the commits around it, so that nothing else gives way. */
#include "node/repair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "event/skip.h"

#define HOLES_MAX 10000u
#define SIDES_MAX 10000

typedef struct run {
  ae_repair *of;
  ae_store *store;
  ae_read read;
  bool keeping; /* the second read, for the side file */
  /* looking */
  uint64_t next; /* version that has to come */
  uint64_t last; /* position of the last good commit */
  bool open;     /* the last hole is */
  /* the side file */
  int file;
  ae_buf line;
  /* mending */
  size_t at; /* hole */
  ae_mend mend;
  ae_buf record;
  ae_uuid7 uuids;
} run;

static void finish(run *r, ae_status status, const ae_error *err) {
  ae_repair *of = r->of;
  if (r->file >= 0) close(r->file);
  ae_buf_clear(&r->line);
  ae_buf_clear(&r->record);
  ae_free(r);
  of->impl = NULL;
  of->done(of, status, err);
}

/* -- looking -- */

static ae_repair_hole *hole_open(run *r, const char *cause) {
  ae_repair *of = r->of;
  if ((of->hole_count & (of->hole_count - 1)) == 0)
    of->holes =
        ae_realloc(of->holes, (of->hole_count ? 2 * of->hole_count : 1) *
                                  sizeof *of->holes);
  ae_repair_hole *hole = &of->holes[of->hole_count++];
  *hole = (ae_repair_hole){.from = r->next, .after = r->last};
  snprintf(hole->cause, sizeof hole->cause, "%s", cause);
  r->open = true;
  return hole;
}

static void hole_close(run *r, uint64_t to, uint64_t until) {
  ae_repair_hole *hole = &r->of->holes[r->of->hole_count - 1];
  hole->to = to;
  hole->until = until;
  r->open = false;
}

/* Behind "a stored record cannot be read: ". */
static const char *cause_of(const ae_error *err) {
  const char *text = ae_error_text(err), *colon = strstr(text, ": ");
  return colon ? colon + 2 : text;
}

/* What is wrong with it; "": nothing. */
static void judge(const run *r, const ae_record *record, char cause[160]) {
  ae_commit commit;
  ae_error err = {0};
  cause[0] = 0;
  if (record->bytes.len == 0)
    snprintf(cause, 160, "it is missing");
  else if (ae_commit_decode(record->bytes, &commit, &err) != AE_OK)
    snprintf(cause, 160, "%s", cause_of(&err));
  else if (!ae_ref_eq(&commit.ref, &r->of->ref))
    snprintf(cause, 160, "it is another actor's");
  else if (commit.first_version != record->first_version ||
           commit.event_count != record->event_count)
    snprintf(cause, 160, "its versions are not those of the index");
  else if (record->first_version < r->next && !r->open)
    snprintf(cause, 160, "its version is there already");
  else if (r->open &&
           record->first_version < r->of->holes[r->of->hole_count - 1].from)
    snprintf(cause, 160, "its version is there already");
  ae_error_clear(&err);
}

static void take_bad(run *r, const ae_record *record, const char *cause) {
  ae_repair_hole *hole =
      r->open ? &r->of->holes[r->of->hole_count - 1] : hole_open(r, cause);
  if (record->bytes.len > 0) hole->records++;
  /* Where the index goes on, it is believed. */
  if (record->first_version == r->next) r->next += record->event_count;
}

static void take_good(run *r, const ae_record *record) {
  if (!r->open && record->first_version > r->next)
    hole_open(r, "it is missing");
  if (r->open) hole_close(r, record->first_version - 1, record->position);
  r->next = record->first_version + record->event_count;
  r->last = record->position;
  r->of->commits++;
  r->of->behind += r->of->hole_count > 0;
}

static void look_at(run *r, const ae_page *page) {
  char cause[160];
  for (uint32_t i = 0; i < page->count; i++) {
    const ae_record *record = &page->records[i];
    if (record->first_version <= r->of->base) continue; /* as good as gone */
    judge(r, record, cause);
    if (cause[0])
      take_bad(r, record, cause);
    else
      take_good(r, record);
  }
}

static void look_end(run *r) {
  ae_repair *of = r->of;
  if (!r->open && r->next <= of->latest) hole_open(r, "it is missing");
  if (r->open) hole_close(r, of->latest, 0);
}

/* -- the side file -- */

static ae_status side_failed(run *r, int error, ae_error *err) {
  ae_error_set(err, error == ENOSPC ? AE_STORE_FULL : AE_STORE_UNAVAILABLE,
               "what gives way cannot be kept in %s: %s; nothing was changed",
               r->of->kept ? r->of->kept : r->of->side, strerror(error));
  ae_error_cstr(err, "cause", strerror(error));
  return err->status;
}

static ae_status side_open(run *r, ae_error *err) {
  for (int n = 1; n <= SIDES_MAX; n++) {
    char suffix[48];
    snprintf(suffix, sizeof suffix, ".repaired-%d.ndjson", n);
    char *name = ae_file_beside(r->of->side, suffix);
    int error = AE_FAULT("repair.open");
    r->file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (error == 0 && r->file < 0) error = errno;
    if (error == EEXIST) {
      ae_free(name);
      continue;
    }
    r->of->kept = name;
    return error == 0 ? AE_OK : side_failed(r, error, err);
  }
  return side_failed(r, EEXIST, err);
}

static int side_put(run *r, const ae_record *record) {
  ae_buf name = {0}, packed = {0};
  ae_ref_format(&r->of->ref, &name);
  ae_pack_map(&packed, 5);
  ae_pack_cstr(&packed, "actor");
  ae_pack_text(&packed, ae_buf_view(&name));
  ae_pack_cstr(&packed, "version");
  ae_pack_uint(&packed, record->first_version);
  ae_pack_cstr(&packed, "events");
  ae_pack_uint(&packed, record->event_count);
  ae_pack_cstr(&packed, "position");
  ae_pack_uint(&packed, record->position);
  ae_pack_cstr(&packed, "record");
  ae_pack_bin(&packed, record->bytes);
  ae_buf_reset(&r->line);
  ae_json_write(ae_buf_view(&packed), &r->line);
  ae_buf_byte(&r->line, '\n');
  ae_buf_clear(&name);
  ae_buf_clear(&packed);
  int error = AE_FAULT("repair.write");
  for (size_t at = 0; error == 0 && at < r->line.len;) {
    ssize_t wrote = write(r->file, r->line.ptr + at, r->line.len - at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0)
      error = errno;
    else
      at += (size_t)wrote;
  }
  return error;
}

static bool gives_way(const run *r, const ae_record *record) {
  const ae_repair *of = r->of;
  if (record->bytes.len == 0 || record->first_version <= of->base) return false;
  if (of->way == AE_REPAIR_TRUNCATE)
    return record->position > of->holes[0].after;
  for (size_t i = 0; i < of->hole_count; i++) {
    const ae_repair_hole *hole = &of->holes[i];
    if (record->position > hole->after &&
        (hole->until == 0 || record->position < hole->until))
      return true;
  }
  return false;
}

static ae_status side_page(run *r, const ae_page *page, ae_error *err) {
  for (uint32_t i = 0; i < page->count; i++) {
    if (!gives_way(r, &page->records[i])) continue;
    if (r->file < 0) {
      ae_status status = side_open(r, err);
      if (status != AE_OK) return status;
    }
    int error = side_put(r, &page->records[i]);
    if (error != 0) return side_failed(r, error, err);
  }
  return AE_OK;
}

static ae_status side_end(run *r, ae_error *err) {
  if (r->file < 0) return AE_OK;
  int error = AE_FAULT("repair.sync");
  if (error == 0 && fsync(r->file) != 0) error = errno;
  if (error == 0) error = ae_file_sync_folder(r->of->kept);
  return error == 0 ? AE_OK : side_failed(r, error, err);
}

/* -- mending -- */

static void mend_next(run *r);

static void on_mended(ae_write *write, ae_status status, const ae_error *err) {
  run *r = AE_CONTAINER(write, run, mend.write);
  if (status != AE_OK) {
    finish(r, status, err);
    return;
  }
  r->of->removed += r->mend.removed;
  r->at++;
  mend_next(r);
}

static void mend_next(run *r) {
  ae_repair *of = r->of;
  bool skip = of->way == AE_REPAIR_SKIP;
  if (r->at == (skip ? of->hole_count : 1)) {
    of->version = skip ? of->latest : of->holes[0].from - 1;
    finish(r, AE_OK, NULL);
    return;
  }
  const ae_repair_hole *hole = &of->holes[r->at];
  r->mend = (ae_mend){.write = {.cb = on_mended},
                      .ref = of->ref,
                      .latest = of->latest,
                      .after = hole->after,
                      .version = hole->from - 1};
  ae_error err = {0};
  ae_status status = AE_OK;
  if (skip && hole->to + 1 - hole->from > UINT32_MAX / 64) {
    status = ae_error_set(&err, AE_TOO_LARGE,
                          "%llu versions are too many to skip: --truncate, or "
                          "restore a backup",
                          (unsigned long long)(hole->to + 1 - hole->from));
  } else if (skip) {
    int64_t now = ae_clock_now();
    ae_commit commit = {.ref = of->ref,
                        .first_version = hole->from,
                        .time = now,
                        .id = ae_uuid7_make(&r->uuids, now),
                        .node = ae_str_of(of->node)};
    r->mend.until = hole->until;
    r->mend.event_count = (uint32_t)(hole->to + 1 - hole->from);
    ae_buf_reset(&r->record);
    ae_skip_encode(&r->record, &commit, r->mend.event_count,
                   ae_str_of(hole->cause));
    r->mend.record = ae_buf_view(&r->record);
    if (r->record.len > AE_RECORD_MAX)
      status = ae_error_set(&err, AE_TOO_LARGE,
                            "what would stand for %u versions is too large: "
                            "--truncate, or restore a backup",
                            r->mend.event_count);
  }
  if (status == AE_OK) status = ae_store_mend(r->store, &r->mend, &err);
  if (status != AE_OK) finish(r, status, &err);
  ae_error_clear(&err);
}

/* -- reading -- */

static void read_all(run *r);

static void looked(run *r) {
  ae_repair *of = r->of;
  ae_error err = {0};
  ae_status status = AE_OK;
  look_end(r);
  of->version = of->latest;
  if (of->latest == 0) {
    status = ae_error_set(&err, AE_NOT_FOUND, "there is no %.*s/%.*s/%.*s",
                          AE_FMT(of->ref.ns), AE_FMT(of->ref.type),
                          AE_FMT(of->ref.id));
  } else if (of->hole_count > HOLES_MAX) {
    status = ae_error_set(&err, AE_TOO_LARGE,
                          "its history cannot be read at more than %u places: "
                          "restore a backup",
                          HOLES_MAX);
  } else if (of->hole_count > 0 && of->way != AE_REPAIR_LOOK && of->confirm &&
             !of->confirm(of)) {
    status = ae_error_set(&err, AE_CANCELED, "nothing was changed");
  } else if (of->hole_count > 0 && of->way != AE_REPAIR_LOOK) {
    r->keeping = true;
    read_all(r);
    return;
  }
  finish(r, status, &err);
  ae_error_clear(&err);
}

static void on_page(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err) {
  run *r = read->data;
  ae_error why = {0};
  if (status != AE_OK) {
    finish(r, status, err);
    return;
  }
  if (r->keeping) {
    status = side_page(r, page, &why);
  } else {
    if (r->next == 0) r->next = read->base + 1;
    r->of->latest = read->latest;
    r->of->base = read->base;
    look_at(r, page);
  }
  bool more = status == AE_OK && !page->end;
  if (!more && !page->end) ae_read_end(read);
  if (more) {
    ae_read_more(read);
  } else if (!r->keeping) {
    looked(r);
  } else {
    if (status == AE_OK) status = side_end(r, &why);
    if (status == AE_OK)
      mend_next(r);
    else
      finish(r, status, &why);
  }
  ae_error_clear(&why);
}

static void read_all(run *r) {
  ae_error err = {0};
  r->read = (ae_read){
      .ref = r->of->ref, .from = 1, .to = UINT64_MAX, .cb = on_page, .data = r};
  ae_status status = ae_store_read(r->store, &r->read, &err);
  if (status != AE_OK) finish(r, status, &err);
  ae_error_clear(&err);
}

ae_status ae_repair_start(ae_store *store, ae_repair *repair, ae_error *err) {
  run *r = ae_zalloc(sizeof *r);
  r->of = repair;
  r->store = store;
  r->file = -1;
  r->read = (ae_read){.ref = repair->ref,
                      .from = 1,
                      .to = UINT64_MAX,
                      .cb = on_page,
                      .data = r};
  repair->impl = r;
  ae_status status = ae_store_read(store, &r->read, err);
  if (status == AE_OK) return AE_OK;
  repair->impl = NULL;
  ae_free(r);
  return status;
}

static const char *const ways[] = {"look", "skip", "truncate"};

ae_status ae_repair_way_of(ae_str word, ae_repair_way *out, ae_error *err) {
  for (int i = 0; i < 3; i++) {
    if (!ae_str_eq(word, ae_str_of(ways[i]))) continue;
    *out = (ae_repair_way)i;
    return AE_OK;
  }
  return ae_error_set(err, AE_MALFORMED,
                      "a way to repair is look, skip or truncate, not \"%.*s\"",
                      AE_FMT(word));
}

char *ae_repair_side(const ae_config *config) {
  const char *file = ae_store_file(config->store);
  return file ? ae_strdup(file) : ae_file_beside(config->data, "/store");
}

static void pack_uint(ae_buf *out, const char *key, uint64_t value) {
  ae_pack_cstr(out, key);
  ae_pack_uint(out, value);
}

static void pack_hole(ae_buf *out, const ae_repair_hole *hole) {
  ae_pack_map(out, 4);
  pack_uint(out, "from", hole->from);
  pack_uint(out, "to", hole->to);
  pack_uint(out, "records", hole->records);
  ae_pack_cstr(out, "cause");
  ae_pack_text(out, ae_str_of(hole->cause));
}

void ae_repair_pack(const ae_repair *repair, ae_buf *out) {
  ae_buf name = {0};
  bool changed = repair->way != AE_REPAIR_LOOK && repair->hole_count > 0;
  ae_ref_format(&repair->ref, &name);
  ae_pack_map(out, 7 + changed + (repair->kept != NULL));
  ae_pack_cstr(out, "actor");
  ae_pack_text(out, ae_buf_view(&name));
  pack_uint(out, "version", repair->version);
  pack_uint(out, "base", repair->base);
  pack_uint(out, "commits", repair->commits);
  pack_uint(out, "behind", repair->behind);
  ae_pack_cstr(out, "way");
  ae_pack_cstr(out, ways[repair->way]);
  ae_pack_cstr(out, "holes");
  ae_pack_array(out, (uint32_t)repair->hole_count);
  for (size_t i = 0; i < repair->hole_count; i++)
    pack_hole(out, &repair->holes[i]);
  if (changed) pack_uint(out, "removed", repair->removed);
  if (repair->kept) {
    ae_pack_cstr(out, "kept");
    ae_pack_text(out, ae_str_of(repair->kept));
  }
  ae_buf_clear(&name);
}

void ae_repair_clear(ae_repair *repair) {
  ae_free(repair->holes);
  ae_free(repair->kept);
  repair->holes = NULL;
  repair->kept = NULL;
}
