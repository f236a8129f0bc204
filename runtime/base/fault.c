#include "base/fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define POINTS_MAX 16
#define NAME_MAX_LEN 63

typedef struct point {
  char name[NAME_MAX_LEN + 1];
  unsigned nth; /* 0: every passage */
  unsigned passed;
  int error;
} point;

_Atomic bool ae_fault_armed;

/* Guards what is below: any thread may meet a fault. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static point points[POINTS_MAX];
static size_t count;

int ae_fault_hit(const char *name) {
  int error = 0;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < count && !error; i++) {
    point *at = &points[i];
    if (strcmp(at->name, name) != 0) continue;
    at->passed++;
    if (at->nth == 0 || at->passed == at->nth) error = at->error;
  }
  pthread_mutex_unlock(&lock);
  return error;
}

static bool arm(ae_str name, unsigned nth, int error) {
  if (name.len == 0 || name.len > NAME_MAX_LEN) return false;
  pthread_mutex_lock(&lock);
  bool fits = count < POINTS_MAX;
  if (fits) {
    point *at = &points[count++];
    memcpy(at->name, name.ptr, name.len);
    at->name[name.len] = 0;
    at->nth = nth;
    at->passed = 0;
    at->error = error ? error : EIO;
  }
  pthread_mutex_unlock(&lock);
  if (fits) atomic_store(&ae_fault_armed, true);
  return fits;
}

void ae_fault_arm(const char *name, unsigned nth, int error) {
  if (!arm(ae_str_of(name), nth, error)) {
    fprintf(stderr, "aether: no room to arm the fault '%s'\n", name);
    abort();
  }
}

void ae_fault_reset(void) {
  pthread_mutex_lock(&lock);
  count = 0;
  pthread_mutex_unlock(&lock);
  atomic_store(&ae_fault_armed, false);
}

static bool errno_of(ae_str text, int *out) {
  static const struct {
    const char *name;
    int value;
  } known[] = {
      {"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EACCES", EACCES},
      {"EROFS", EROFS},   {"EINTR", EINTR},   {"EAGAIN", EAGAIN},
      {"ENOMEM", ENOMEM}, {"EDQUOT", EDQUOT}, {"ETIMEDOUT", ETIMEDOUT},
  };
  uint64_t number;
  if (ae_str_uint(text, &number) && number > 0 && number < 4096) {
    *out = (int)number;
    return true;
  }
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (ae_str_eq(text, ae_str_of(known[i].name))) {
      *out = known[i].value;
      return true;
    }
  }
  return false;
}

/* Up to `until` or the end; `rest` then stands behind it. */
static ae_str cut(ae_str *rest, char until) {
  const char *found = rest->len ? memchr(rest->ptr, until, rest->len) : NULL;
  ae_str part = *rest;
  if (!found) {
    *rest = (ae_str){0};
    return part;
  }
  part.len = (size_t)(found - rest->ptr);
  *rest = (ae_str){found + 1, rest->len - part.len - 1};
  return part;
}

/* name:N[:ERRNO] */
static bool arm_text(ae_str one) {
  ae_str name = cut(&one, ':');
  ae_str nth = cut(&one, ':');
  uint64_t number;
  int error = EIO;
  if (!ae_str_uint(nth, &number) || number > UINT32_MAX) return false;
  if (one.ptr && !errno_of(one, &error)) return false;
  return arm(name, (unsigned)number, error);
}

bool ae_fault_from_env(void) {
  const char *text = getenv("AETHER_FAULT");
  if (!text || !*text) return true;
  ae_str rest = ae_str_of(text);
  while (rest.ptr) {
    ae_str one = cut(&rest, ',');
    if (arm_text(one)) continue;
    fprintf(stderr,
            "aether: AETHER_FAULT: '%.*s' is not name:N or name:N:ERRNO "
            "(at most %d of them)\n",
            AE_FMT(one), POINTS_MAX);
    return false;
  }
  return true;
}
