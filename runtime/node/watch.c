#include "node/watch.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"

#define QUIET 50       /* ms */
#define LONGEST 20     /* quiet periods until it is told all the same */
#define MISSING_MS 250 /* between looks for a folder that is not there */
#define LOOK_MS \
  1000           /* and whether one is: nobody tells that its parent moved */
#define DEPTH 16 /* folders in each other, against circles of links */

typedef struct folder {
  uv_fs_event_t event;
  struct folder *next;
  ae_watch *watch;
  char *path;
  dev_t device; /* of what is watched: another may stand there by now */
  ino_t inode;
  bool seen; /* by the present walk */
} folder;

struct ae_watch {
  ae_loop *loop;
  char **roots; /* ends with NULL */
  bool *gone;   /* by root: it was not there at the last look */
  char *suffix;
  unsigned quiet_ms;
  void (*changed)(void *data, const char *const *paths, size_t count);
  void (*moved)(void *data, const char *folder, bool there);
  void *data;
  uv_timer_t quiet;
  uv_timer_t missing; /* looks whether the roots are there */
  folder *folders;
  char **paths; /* changed since the last time */
  size_t count, cap;
  uint64_t since; /* loop time of the first of them, ms */
  unsigned open;  /* handles that are not closed */
  bool walks;     /* folders may have changed */
  bool closing;
  int problem; /* libuv's number of it */
  char *at;    /* its path */
};

static void on_quiet(uv_timer_t *timer);
static void walk(ae_watch *watch);

/* -- what changed -- */

static void forget(ae_watch *watch) {
  for (size_t i = 0; i < watch->count; i++) ae_free(watch->paths[i]);
  watch->count = 0;
}

static void wait_quiet(ae_watch *watch) {
  uint64_t now = uv_now(&watch->loop->uv);
  if (!uv_is_active((uv_handle_t *)&watch->quiet)) watch->since = now;
  uint64_t latest = watch->since + (uint64_t)watch->quiet_ms * LONGEST;
  uint64_t wait = watch->quiet_ms;
  if (now + wait > latest) wait = latest > now ? latest - now : 0;
  uv_timer_start(&watch->quiet, on_quiet, wait, 0);
}

static char *join(const char *path, const char *name) {
  ae_buf text = {0};
  if (strcmp(path, ".") != 0) ae_buf_printf(&text, "%s/", path);
  ae_buf_printf(&text, "%s", name);
  char *copy = ae_strdup(ae_buf_cstr(&text));
  ae_buf_clear(&text);
  return copy;
}

/* Takes over `path`. */
static void add(ae_watch *watch, char *path) {
  for (size_t i = 0; i < watch->count; i++) {
    if (strcmp(watch->paths[i], path) == 0) {
      ae_free(path);
      return;
    }
  }
  if (watch->count == watch->cap) {
    watch->cap = watch->cap ? 2 * watch->cap : 16;
    watch->paths = ae_realloc(watch->paths, watch->cap * sizeof *watch->paths);
  }
  watch->paths[watch->count++] = path;
}

static bool is_told(const ae_watch *watch, const char *name) {
  size_t len = strlen(name), end = strlen(watch->suffix);
  return name[0] != '.' && len > end &&
         strcmp(name + len - end, watch->suffix) == 0;
}

/* -- folders -- */

static folder *find(ae_watch *watch, const char *path) {
  for (folder *at = watch->folders; at; at = at->next) {
    if (strcmp(at->path, path) == 0) return at;
  }
  return NULL;
}

static void release(ae_watch *watch) {
  if (--watch->open > 0 || !watch->closing) return;
  forget(watch);
  ae_free(watch->paths);
  for (char **root = watch->roots; *root; root++) ae_free(*root);
  ae_free(watch->roots);
  ae_free(watch->gone);
  ae_free(watch->suffix);
  ae_free(watch->at);
  ae_free(watch);
}

static void folder_closed(uv_handle_t *handle) {
  folder *gone = AE_CONTAINER(handle, folder, event);
  ae_watch *watch = gone->watch;
  ae_free(gone->path);
  ae_free(gone);
  release(watch);
}

static void on_event(uv_fs_event_t *event, const char *name, int events,
                     int status) {
  folder *in = AE_CONTAINER(event, folder, event);
  ae_watch *watch = in->watch;
  (void)events;
  if (status < 0 || !name || !name[0]) { /* the folder itself */
    watch->walks = true;
    wait_quiet(watch);
    return;
  }
  if (is_told(watch, name)) {
    add(watch, join(in->path, name));
    wait_quiet(watch);
    return;
  }
  if (name[0] == '.') return;
  char *path = join(in->path, name);
  struct stat info;
  bool there = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
  ae_str own = ae_str_of(in->path), base = ae_str_of(name);
  bool self = own.len >= base.len &&
              memcmp(own.ptr + own.len - base.len, base.ptr, base.len) == 0;
  if (there || self || find(watch, path)) {
    watch->walks = true;
    wait_quiet(watch);
  }
  ae_free(path);
}

static void watch_folder(ae_watch *watch, const char *path,
                         const struct stat *info) {
  folder *fresh = ae_zalloc(sizeof *fresh);
  fresh->watch = watch;
  fresh->path = ae_strdup(path);
  fresh->device = info->st_dev;
  fresh->inode = info->st_ino;
  fresh->seen = true;
  AE_ASSERT_CMP(uv_fs_event_init(&watch->loop->uv, &fresh->event), ==, 0);
  watch->open++;
  int failure = uv_fs_event_start(&fresh->event, on_event, path, 0);
  if (failure == 0) {
    fresh->next = watch->folders;
    watch->folders = fresh;
    return;
  }
  if (failure != UV_ENOENT && watch->problem == 0) {
    watch->problem = failure;
    watch->at = ae_strdup(path);
  }
  uv_close((uv_handle_t *)&fresh->event, folder_closed);
}

/* `tells`: files in folders that are new count as changed. */
static bool walk_folder(ae_watch *watch, const char *path, bool tells,
                        unsigned depth) {
  struct stat info;
  if (depth > DEPTH || stat(path, &info) != 0 || !S_ISDIR(info.st_mode) ||
      info.st_nlink == 0)
    return false;
  folder *known = find(watch, path);
  if (known && (known->device != info.st_dev || known->inode != info.st_ino))
    known = NULL; /* the old one is not seen, and goes */
  if (known)
    known->seen = true;
  else
    watch_folder(watch, path, &info);
  /* Watched first, then read: nothing is missed in between. */
  DIR *dir = opendir(path);
  if (!dir) return false;
  for (struct dirent *entry; (entry = readdir(dir));) {
    const char *name = entry->d_name;
    if (name[0] == '.') continue;
    char *inner = join(path, name);
    if (is_told(watch, name)) {
      if (tells && !known) {
        add(watch, inner);
        inner = NULL;
      }
    } else if (entry->d_type == DT_DIR || entry->d_type == DT_LNK ||
               entry->d_type == DT_UNKNOWN) {
      walk_folder(watch, inner, tells, depth + 1);
    }
    ae_free(inner);
  }
  closedir(dir);
  return true;
}

/* Whether what is watched as this root is what stands there. */
static bool stands(ae_watch *watch, const char *root) {
  struct stat info;
  const folder *known = find(watch, root);
  /* A current folder that was removed has no name any more. */
  return known && stat(root, &info) == 0 && info.st_nlink > 0 &&
         known->device == info.st_dev && known->inode == info.st_ino;
}

static void on_missing(uv_timer_t *timer) {
  ae_watch *watch = AE_CONTAINER(timer, ae_watch, missing);
  bool all = true;
  for (char **root = watch->roots; *root; root++)
    all = stands(watch, *root) && all;
  if (all) {
    uv_timer_start(&watch->missing, on_missing, LOOK_MS, 0);
    return;
  }
  walk(watch);
  if (watch->count > 0) wait_quiet(watch);
}

static void walk_all(ae_watch *watch, bool tells) {
  for (folder *at = watch->folders; at; at = at->next) at->seen = false;
  bool all = true;
  for (size_t i = 0; watch->roots[i]; i++) {
    bool there = walk_folder(watch, watch->roots[i], tells, 0);
    all = there && all;
    if (there != watch->gone[i]) continue;
    watch->gone[i] = !there;
    if (tells && watch->moved)
      watch->moved(watch->data, watch->roots[i], there);
  }
  for (folder **at = &watch->folders; *at;) {
    folder *gone = *at;
    if (gone->seen) {
      at = &gone->next;
      continue;
    }
    *at = gone->next;
    uv_close((uv_handle_t *)&gone->event, folder_closed);
  }
  uv_timer_start(&watch->missing, on_missing, all ? LOOK_MS : MISSING_MS, 0);
}

static void walk(ae_watch *watch) {
  watch->walks = false;
  walk_all(watch, true);
}

/* -- telling -- */

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static void on_quiet(uv_timer_t *timer) {
  ae_watch *watch = AE_CONTAINER(timer, ae_watch, quiet);
  if (watch->walks) walk(watch);
  if (watch->count == 0) return;
  qsort(watch->paths, watch->count, sizeof *watch->paths, by_text);
  char **paths = watch->paths;
  size_t count = watch->count;
  watch->paths = NULL;
  watch->count = watch->cap = 0;
  /* It may close the watch, and then `watch` is gone soon, not at once. */
  watch->changed(watch->data, (const char *const *)paths, count);
  for (size_t i = 0; i < count; i++) ae_free(paths[i]);
  ae_free(paths);
}

/* -- opening and closing -- */

static void quiet_closed(uv_handle_t *handle) {
  release(AE_CONTAINER(handle, ae_watch, quiet));
}

static void missing_closed(uv_handle_t *handle) {
  release(AE_CONTAINER(handle, ae_watch, missing));
}

ae_status ae_watch_open(ae_loop *loop, const ae_watch_options *options,
                        ae_watch **out, ae_error *err) {
  ae_watch *watch = ae_zalloc(sizeof *watch);
  size_t count = 0;
  while (options->folders[count]) count++;
  watch->roots = ae_zalloc((count + 1) * sizeof *watch->roots);
  for (size_t i = 0; i < count; i++)
    watch->roots[i] = ae_strdup(options->folders[i]);
  watch->loop = loop;
  watch->suffix = ae_strdup(options->suffix);
  watch->quiet_ms = options->quiet_ms ? options->quiet_ms : QUIET;
  watch->gone = ae_zalloc((count + 1) * sizeof *watch->gone);
  watch->changed = options->changed;
  watch->moved = options->moved;
  watch->data = options->data;
  AE_ASSERT_CMP(uv_timer_init(&loop->uv, &watch->quiet), ==, 0);
  AE_ASSERT_CMP(uv_timer_init(&loop->uv, &watch->missing), ==, 0);
  watch->open = 2;
  walk_all(watch, false);
  if (watch->problem == 0) {
    *out = watch;
    return AE_OK;
  }
  ae_error_set(err, AE_NOT_FOUND, "the folder %s cannot be watched: %s%s",
               watch->at, uv_strerror(watch->problem),
               watch->problem == UV_ENOSPC
                   ? "; the system's limit is fs.inotify.max_user_watches"
               : watch->problem == UV_EMFILE
                   ? "; the system's limit is fs.inotify.max_user_instances"
                   : "");
  ae_watch_close(watch);
  *out = NULL;
  return AE_NOT_FOUND;
}

void ae_watch_close(ae_watch *watch) {
  if (!watch || watch->closing) return;
  watch->closing = true;
  while (watch->folders) {
    folder *gone = watch->folders;
    watch->folders = gone->next;
    uv_close((uv_handle_t *)&gone->event, folder_closed);
  }
  uv_close((uv_handle_t *)&watch->quiet, quiet_closed);
  uv_close((uv_handle_t *)&watch->missing, missing_closed);
}
