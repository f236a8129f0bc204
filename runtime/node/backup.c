#define _GNU_SOURCE /* renameat2 */
#include "node/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"

/* What belongs to a store's file, beside it. */
static const char *const parts[] = {"", "-wal", "-shm", "-journal", ".lock"};

static ae_status refuse(ae_error *err, const char *file, int error) {
  bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  ae_status status = full ? AE_STORE_FULL : AE_STORE_UNAVAILABLE;
  const char *mend = "see the system's log";
  if (full)
    mend = "make room, or name a file on another disk";
  else if (error == ENOENT || error == ENOTDIR)
    mend = "make its folder first";
  else if (error == EACCES || error == EPERM || error == EROFS)
    mend = "name a file in a folder that can be written";
  ae_error_set(err, status, "%s cannot be made: %s; %s", file, strerror(error),
               mend);
  ae_error_cstr(err, "cause", strerror(error));
  return status;
}

/* FILE, there or not, would be a part of the store. */
static bool is_part(const char *file, const char *store) {
  const char *name = strrchr(file, '/'), *own = strrchr(store, '/');
  char *folder = ae_file_folder(file), *home = ae_file_folder(store);
  bool same = ae_file_same(folder, home), is = false;
  name = name ? name + 1 : file;
  own = own ? own + 1 : store;
  for (size_t i = 0; i < sizeof parts / sizeof *parts && !is; i++) {
    char *beside = ae_file_beside(own, parts[i]);
    char *there = ae_file_beside(store, parts[i]);
    is = (same && strcmp(name, beside) == 0) || ae_file_same(file, there);
    ae_free(beside);
    ae_free(there);
  }
  ae_free(folder);
  ae_free(home);
  return is;
}

/* A file with a log beside it is in use: its log would be taken for the new
 * file's. */
static bool in_use(const char *file) {
  struct stat about;
  bool is = false;
  for (size_t i = 1; i < 4 && !is; i += 2) {
    char *beside = ae_file_beside(file, parts[i]);
    is = stat(beside, &about) == 0 && about.st_size > 0;
    ae_free(beside);
  }
  return is;
}

static ae_status look_at(const ae_backup *b, ae_error *err) {
  struct stat about;
  if (b->store) {
    char *real = realpath(b->store, NULL);
    bool part = is_part(b->file, b->store) || (real && is_part(b->file, real));
    free(real);
    if (part)
      return ae_error_set(err, AE_USAGE,
                          "%s is the store itself, or a part of it: name "
                          "another file",
                          b->file);
  }
  if (in_use(b->file)) {
    ae_error_set(err, AE_STORE_UNAVAILABLE,
                 "%s is in use as a database (there is a log beside it): name "
                 "another file",
                 b->file);
    ae_error_cstr(err, "cause", "in use");
    return AE_STORE_UNAVAILABLE;
  }
  if (lstat(b->file, &about) != 0)
    return errno == ENOENT ? AE_OK : refuse(err, b->file, errno);
  if (!S_ISREG(about.st_mode))
    return ae_error_set(err, AE_USAGE,
                        S_ISDIR(about.st_mode)
                            ? "%s is a folder: name a file in it"
                            : "%s is there, and is no regular file: name "
                              "another one",
                        b->file);
  if (b->force) return AE_OK;
  ae_error_set(err, AE_STORE_UNAVAILABLE,
               "%s is there already; --force puts the backup in its place",
               b->file);
  ae_error_cstr(err, "cause", "exists");
  return AE_STORE_UNAVAILABLE;
}

/* What one that was killed left under the name is begun anew; the lock ends
 * with its process. */
static ae_status open_partial(ae_backup *b, ae_error *err) {
  int error = AE_FAULT("backup.open");
  b->lock = open(b->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (b->lock < 0) return refuse(err, b->partial, errno);
  if (flock(b->lock, LOCK_EX | LOCK_NB) != 0) {
    close(b->lock);
    b->lock = -1;
    ae_error_set(err, AE_STORE_UNAVAILABLE, "another backup to %s is under way",
                 b->file);
    ae_error_cstr(err, "cause", "under way");
    return AE_STORE_UNAVAILABLE;
  }
  if (error == 0 && ftruncate(b->lock, 0) != 0) error = errno;
  return error == 0 ? AE_OK : refuse(err, b->partial, error);
}

static void clear(ae_backup *b) {
  if (b->lock >= 0) {
    if (!b->made) unlink(b->partial);
    close(b->lock);
  }
  b->lock = -1;
  ae_free(b->partial);
  b->partial = NULL;
}

static int name_new(const char *from, const char *to) {
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (access(to, F_OK) == 0) return EEXIST; /* a file system that cannot */
  return rename(from, to) == 0 ? 0 : errno;
}

/* A damaged one never takes a good one's place. */
static ae_status name_it(ae_backup *b, ae_error *err) {
  struct stat about;
  bool damaged = b->duplicate.audit.problem.len > 0;
  bool over = b->force && lstat(b->file, &about) == 0;
  char *to = ae_file_beside(b->file, over && damaged ? ".damaged" : "");
  int error = AE_FAULT("backup.name");
  if (error == 0 && over)
    error = rename(b->partial, to) == 0 ? 0 : errno;
  else if (error == 0)
    error = name_new(b->partial, to);
  if (error == 0) {
    b->made = to;
    error = ae_file_sync_folder(to);
  }
  if (error == 0 && stat(to, &about) == 0) b->bytes = (uint64_t)about.st_size;
  if (error == 0) return AE_OK;
  refuse(err, to, error);
  if (to != b->made) ae_free(to);
  return err->status;
}

static void on_duplicate(ae__duplicate *duplicate, ae_status status,
                         const ae_error *err) {
  ae_backup *b = duplicate->data;
  ae_error why = {0};
  if (status == AE_OK) {
    status = name_it(b, &why);
    err = &why;
  }
  clear(b);
  b->done(b, status, err);
  ae_error_clear(&why);
}

static void on_progress(ae__duplicate *duplicate) {
  ae_backup *b = duplicate->data;
  if (b->progress) b->progress(b);
}

ae_status ae_backup_start(ae_loop *loop, ae_store *store, ae_backup *backup,
                          ae_error *err) {
  backup->lock = -1;
  backup->partial = ae_file_beside(backup->file, ".partial");
  backup->duplicate.file = backup->partial;
  backup->duplicate.progress = on_progress;
  backup->duplicate.done = on_duplicate;
  backup->duplicate.data = backup;
  ae_status status = look_at(backup, err);
  if (status == AE_OK) status = open_partial(backup, err);
  if (status == AE_OK)
    status = ae__duplicate_start(loop, store, &backup->duplicate, err);
  if (status != AE_OK) clear(backup);
  return status;
}

void ae_backup_stop(ae_backup *backup) {
  ae__duplicate_stop(&backup->duplicate);
}
