#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

char *ae_file_folder(const char *path) {
  const char *slash = strrchr(path, '/');
  ae_buf folder = {0};
  if (slash)
    ae_buf_add(&folder, path, (size_t)(slash - path) + 1);
  else
    ae_buf_add(&folder, "./", 2);
  return (char *)ae_buf_cstr(&folder);
}

char *ae_file_beside(const char *path, const char *suffix) {
  ae_buf name = {0};
  ae_buf_add(&name, path, strlen(path));
  ae_buf_add(&name, suffix, strlen(suffix));
  return (char *)ae_buf_cstr(&name);
}

int ae_file_sync_folder(const char *path) {
  char *folder = ae_file_folder(path);
  int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int error = file < 0 ? errno : 0;
  ae_free(folder);
  if (file < 0) return error;
  if (fsync(file) != 0 && errno != EINVAL) error = errno;
  close(file);
  return error;
}

bool ae_file_same(const char *a, const char *b) {
  struct stat one, other;
  return stat(a, &one) == 0 && stat(b, &other) == 0 &&
         one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}
