/* Another file in the place of a store.
 *
 * What is there is brought in order first (its log into the file), then gets a
 * second name, then the new file takes the first name: at each moment there is
 * one whole store at the place, and nothing is gone. Of a file that is too
 * damaged for that, the log gets a second name as well before it leaves the
 * first: a new file must not meet another one's log. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/backend/sqlite.h"

#define KEPT_MAX 10000 /* names tried for what was there */

typedef struct seat {
  ae_place place; /* first */
  ae__db db;      /* path and lock */
  char *beside;
  bool there; /* something was, when it was taken */
} seat;

static seat *seat_of(const ae_place *place) {
  return (seat *)place;
}

static bool is_there(const char *path) {
  struct stat about;
  return lstat(path, &about) == 0;
}

static ae_status look_at(seat *s, bool over, ae_error *err) {
  struct stat about;
  const char *path = s->db.path;
  if (stat(path, &about) != 0) {
    if (errno == ENOENT) return AE_OK;
    return ae__sql_refuse_errno(err, path, errno);
  }
  if (!S_ISREG(about.st_mode))
    return ae__sql_refuse(
        err, path,
        S_ISDIR(about.st_mode) ? "it is a folder" : "it is no regular file",
        "name another one");
  if (about.st_size == 0) return AE_OK;
  s->there = true;
  if (over) return AE_OK;
  ae_error_set(err, AE_STORE_UNAVAILABLE,
               "there is a store at %s already; --force puts another in its "
               "place, and keeps this one beside it",
               path);
  ae_error_cstr(err, "cause", "exists");
  return AE_STORE_UNAVAILABLE;
}

ae_status ae__sqlite_place_take(const char *path, bool over, ae_place **out,
                                ae_error *err) {
  if (*path == '\0')
    return ae_error_set(err, AE_USAGE,
                        "a store in SQLite needs a file: sqlite:FILE");
  seat *s = ae_zalloc(sizeof *s);
  s->place.backend = &ae__sqlite_backend;
  s->db.lock = -1;
  s->db.path = ae__sql_real_path(path);
  s->beside = ae_file_beside(s->db.path, ".restore");
  ae_status status = look_at(s, over, err);
  if (status == AE_OK) status = ae__sql_lock(&s->db, err);
  if (status == AE_OK && unlink(s->beside) != 0 && errno != ENOENT)
    status = ae__sql_refuse_errno(err, s->beside, errno);
  if (status != AE_OK) {
    ae__sqlite_place_free(&s->place);
    s = NULL;
  }
  *out = s ? &s->place : NULL;
  return status;
}

const char *ae__sqlite_place_beside(const ae_place *place) {
  return seat_of(place)->beside;
}

/* SQLITE_OK: all of it is in the one file. SQLITE_BUSY: somebody reads it. */
static int bring_in(ae__db *db) {
  if (!ae__sql_is(db)) return SQLITE_NOTADB;
  int code = ae__sql_attach(db, SQLITE_OPEN_READWRITE, false);
  if (code == SQLITE_OK)
    code = sqlite3_wal_checkpoint_v2(db->sqlite, NULL,
                                     SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
  ae__sql_detach(db);
  if (code != SQLITE_OK) return code;
  /* The last one to close it takes these away. */
  char *shared = ae_file_beside(db->path, "-shm");
  bool others = is_there(shared);
  ae_free(shared);
  return others ? SQLITE_BUSY : SQLITE_OK;
}

/* A second name; where the file system has none, another. */
static int keep(const char *path, const char *suffix, const char *kept) {
  char *from = ae_file_beside(path, suffix), *to = ae_file_beside(kept, suffix);
  int error = AE_FAULT("place.keep");
  if (error == 0 && link(from, to) != 0) {
    error = errno;
    if (error == EPERM || error == EOPNOTSUPP || error == EMLINK)
      error = rename(from, to) == 0 ? 0 : errno;
    if (error == ENOENT && *suffix) error = 0;
  }
  ae_free(from);
  ae_free(to);
  return error;
}

static int drop(const char *path, const char *suffix) {
  char *name = ae_file_beside(path, suffix);
  int error = unlink(name) == 0 || errno == ENOENT ? 0 : errno;
  ae_free(name);
  return error;
}

static char *free_name(const char *path) {
  for (int i = 1; i <= KEPT_MAX; i++) {
    char suffix[48];
    snprintf(suffix, sizeof suffix, ".before-restore-%d", i);
    char *name = ae_file_beside(path, suffix);
    if (!is_there(name)) return name;
    ae_free(name);
  }
  return NULL;
}

/* With `log`: the log too, which then leaves the first name. */
static int keep_under(seat *s, const char *name, bool log) {
  const char *path = s->db.path;
  int error = 0;
  if (log) {
    error = keep(path, "-wal", name);
    if (error == 0) error = keep(path, "-journal", name);
  }
  if (error == 0 && s->there) error = keep(path, "", name);
  if (error == 0 && log) {
    error = ae_file_sync_folder(path);
    if (error == 0) error = drop(path, "-journal");
    if (error == 0) error = drop(path, "-wal");
  }
  return error == 0 ? drop(path, "-shm") : error;
}

static ae_status keep_all(seat *s, ae_buf *kept, ae_error *err) {
  const char *path = s->db.path;
  int code = s->there ? bring_in(&s->db) : SQLITE_CANTOPEN;
  if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED)
    return ae__sql_refuse(err, path, "another program reads it",
                          "end that, then try again");
  char *name = free_name(path);
  int error = name ? keep_under(s, name, code != SQLITE_OK) : EEXIST;
  if (error == 0 && s->there) ae_buf_printf(kept, "%s", name);
  ae_free(name);
  return error == 0 ? AE_OK : ae__sql_refuse_errno(err, path, error);
}

ae_status ae__sqlite_place_fill(ae_place *place, ae_buf *kept, ae_error *err) {
  seat *s = seat_of(place);
  ae_status status = keep_all(s, kept, err);
  if (status != AE_OK) return status;
  int error = AE_FAULT("place.fill");
  if (error == 0 && rename(s->beside, s->db.path) != 0) error = errno;
  if (error == 0) error = ae_file_sync_folder(s->db.path);
  return error == 0 ? AE_OK : ae__sql_refuse_errno(err, s->db.path, error);
}

void ae__sqlite_place_free(ae_place *place) {
  seat *s = seat_of(place);
  if (s->db.lock >= 0) {
    unlink(s->beside);
    close(s->db.lock);
  }
  ae_free(s->db.path);
  ae_free(s->beside);
  ae_free(s);
}
