/* The folder of the followers' files: a node's own, by its name, which stays;
 * or a private one, which goes with the store.
 *
 * A private folder is locked (flock, on the folder itself, which also keeps
 * systemd-tmpfiles away) for as long as its process lives. One that is there
 * and not locked was left by a process that was killed: whoever makes the next
 * one takes it away. One that is taken away between being made and being locked
 * is noticed by who made it, who makes another. */
#define _GNU_SOURCE /* F_OFD_SETLK */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/backend/jetstream.h"

#define PRIVATE "aether-follow-"
#define RANDOM "XXXXXX"

/* `path` and the folders above it. */
static int make_folders(const char *path) {
  char *copy = ae_strdup(path);
  int failed = 0;
  for (char *at = copy + 1; !failed; at++) {
    if (*at != '/' && *at != 0) continue;
    bool end = *at == 0;
    *at = 0;
    if (mkdir(copy, 0777) != 0 && errno != EEXIST) failed = errno;
    if (end) break;
    *at = '/';
  }
  ae_free(copy);
  return failed;
}

/* A name is one node's: the folder is locked for as long as the store is open.
 * The lock holds its pid. */
static ae_status lock_named(ae__js *js, ae_error *err) {
  ae_buf path = {0};
  ae_buf_printf(&path, "%s/lock", js->folder);
  js->lock = open(ae_buf_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  ae_buf_clear(&path);
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  char pid[24] = "";
  if (js->lock >= 0 && fcntl(js->lock, F_OFD_SETLK, &whole) == 0) {
    int len = snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (ftruncate(js->lock, 0) == 0 &&
        pwrite(js->lock, pid, (size_t)len, 0) == len)
      return AE_OK;
  } else if (js->lock >= 0 && (errno == EAGAIN || errno == EACCES)) {
    ssize_t len = pread(js->lock, pid, sizeof pid - 1, 0);
    pid[len > 0 ? len : 0] = 0;
    ae_error_set(err, AE_STORE_UNAVAILABLE,
                 "a node of this name runs already, as process %s (it has %s); "
                 "each node needs a name of its own: --node NAME",
                 pid, js->folder);
    ae_error_cstr(err, "cause", "locked");
    ae_error_uint(err, "pid", strtoull(pid, NULL, 10));
    return AE_STORE_UNAVAILABLE;
  }
  ae_error_set(err, AE_STORE_UNAVAILABLE, "%s cannot be locked: %s", js->folder,
               strerror(errno));
  ae_error_cstr(err, "cause", strerror(errno));
  return AE_STORE_UNAVAILABLE;
}

/* -- private ones -- */

static void remove_files(int folder) {
  int own = dup(folder);
  DIR *dir = own >= 0 ? fdopendir(own) : NULL;
  if (!dir) {
    if (own >= 0) close(own);
    return;
  }
  for (struct dirent *entry; (entry = readdir(dir));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      unlinkat(folder, entry->d_name, 0);
  closedir(dir);
}

/* Takes away what a process of this user left. */
static void sweep_one(int parent, const char *name) {
  int folder =
      openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) return;
  struct stat about;
  if (fstat(folder, &about) == 0 && about.st_uid == geteuid() &&
      flock(folder, LOCK_EX | LOCK_NB) == 0) {
    remove_files(folder);
    unlinkat(parent, name, AT_REMOVEDIR);
  }
  close(folder);
}

static void sweep(const char *parent) {
  DIR *dir = opendir(parent);
  if (!dir) return;
  for (struct dirent *entry; (entry = readdir(dir));)
    if (strlen(entry->d_name) == strlen(PRIVATE RANDOM) &&
        strncmp(entry->d_name, PRIVATE, strlen(PRIVATE)) == 0)
      sweep_one(dirfd(dir), entry->d_name);
  closedir(dir);
}

/* 0, or an errno; ENOENT: somebody took it for left over, and it is gone. A
 * file system without such locks is nobody's to sweep either. */
static int lock_private(ae__js *js) {
  struct stat mine, there;
  js->lock = open(js->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (js->lock < 0) return errno;
  bool swept = flock(js->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  if (!swept && fstat(js->lock, &mine) == 0 && lstat(js->folder, &there) == 0 &&
      mine.st_dev == there.st_dev && mine.st_ino == there.st_ino)
    return 0;
  close(js->lock);
  js->lock = -1;
  return ENOENT;
}

static int make_private(ae__js *js) {
  const char *tmp = getenv("TMPDIR");
  if (!tmp || *tmp == 0) tmp = "/tmp";
  sweep(tmp);
  int failed;
  do {
    ae_buf path = {0};
    ae_buf_printf(&path, "%s/" PRIVATE RANDOM, tmp);
    ae_buf_cstr(&path);
    failed = mkdtemp(path.ptr) ? 0 : errno;
    ae_free(js->folder);
    js->folder = ae_strdup(path.ptr);
    ae_buf_clear(&path);
    if (failed) return failed;
    failed = lock_private(js);
  } while (failed == ENOENT);
  js->private = failed == 0;
  return failed;
}

ae_status ae__js_folder_take(ae__js *js, const char *folder, ae_error *err) {
  int failed;
  if (folder) {
    js->folder = ae_strdup(folder);
    failed = make_folders(folder);
    if (!failed) return lock_named(js, err);
  } else {
    failed = make_private(js);
    if (!failed) return AE_OK;
  }
  ae_error_set(err, AE_STORE_UNAVAILABLE,
               "the folder %s for what this node follows: %s", js->folder,
               strerror(failed));
  ae_error_cstr(err, "cause", strerror(failed));
  return AE_STORE_UNAVAILABLE;
}

ae_status ae__js_folder_hold(ae__js *js, ae_error *err) {
  struct stat mine, there;
  ae_buf path = {0};
  ae_buf_printf(&path, "%s%s", js->folder, js->private ? "" : "/lock");
  bool held = js->lock >= 0 && fstat(js->lock, &mine) == 0 &&
              lstat(ae_buf_cstr(&path), &there) == 0 &&
              mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
  ae_buf_clear(&path);
  if (held) return AE_OK;
  if (js->lock >= 0) close(js->lock);
  js->lock = -1;
  bool private = js->private;
  char *folder = js->folder;
  js->folder = NULL;
  ae_status status = ae__js_folder_take(js, private ? NULL : folder, err);
  js->private = private;
  ae_free(folder);
  if (status == AE_OK || js->lock < 0) return status;
  close(js->lock); /* it is somebody else's */
  js->lock = -1;
  return status;
}

void ae__js_folder_leave(ae__js *js) {
  if (js->private) {
    remove_files(js->lock);
    rmdir(js->folder);
  }
  if (js->lock >= 0) close(js->lock);
  ae_free(js->folder);
}
