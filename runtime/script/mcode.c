/* The machine code of a state that was abandoned. LuaJIT maps it outside of
 * the state's region, near its own code, and tells libgcc's unwinder of each
 * area; lua_close would give it back. Left there, each stop would cost some
 * kilobytes, make all errors slower (the unwinder looks through all areas),
 * and after some ten thousand there would be no room for new machine code.
 *
 * LuaJIT offers no way to ask where the areas are, so they are looked for in
 * its global state, the block that the state itself begins; all of this is
 * checked, and what does not look right is left alone:
 *
 *   global state                       an area
 *   … area, top, bottom, size, all …   next area, size, frame description, code
 */
#define _GNU_SOURCE /* process_vm_readv */
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "script/state.h"

#define GLOBAL_STATE 8192 /* bytes that are looked through */
#define PAGE 4096
#define AREA_MAX ((size_t)64 << 20)
#define AREAS_MAX 4096 /* of one state */

/* As the top of an area is laid out. */
typedef struct area {
  struct area *next;
  size_t size;
  /* A common and one frame description, as LuaJIT's template has them. */
  uint8_t frame[14];
} area;

static const uint8_t template[] = {0x1c, 0, 0,   0,   0,   0, 0,
                                   0,    1, 'z', 'P', 'R', 0, 1};

struct bases {
  void *text, *data, *function;
};
/* libgcc's, in no header. */
extern const void *_Unwind_Find_FDE(void *pc, struct bases *bases);
extern void __deregister_frame(const void *frame);

/* What may not be mapped is read by the kernel. */
static bool read_area(uintptr_t at, area *out) {
  struct iovec to = {out, sizeof *out}, from = {(void *)at, sizeof *out};
  return process_vm_readv(getpid(), &to, 1, &from, 1, 0) ==
         (ssize_t)sizeof *out;
}

static bool is_area(uintptr_t at, area *out) {
  if (at == 0 || at % PAGE != 0 || !read_area(at, out)) return false;
  if (out->size == 0 || out->size % PAGE != 0 || out->size > AREA_MAX ||
      memcmp(out->frame, template, sizeof template) != 0) {
    return false;
  }
  /* It must have been registered: to take back another one is an abort. */
  struct bases bases;
  const char *found = _Unwind_Find_FDE((void *)(at + out->size - 1), &bases);
  return found && (uintptr_t)found > at && (uintptr_t)found < at + out->size;
}

static bool is_place(const uintptr_t *words, area *out) {
  uintptr_t at = words[0];
  return at && at % PAGE == 0 && words[1] > at && words[2] > at &&
         words[3] != 0 && words[3] % PAGE == 0 && words[3] <= words[4] &&
         words[1] <= at + words[3] && words[2] <= at + words[3] &&
         is_area(at, out) && out->size == words[3];
}

void ae__mcode_free(const void *state) {
  const uintptr_t *words = state;
  area it;
  for (size_t i = 0; i + 5 <= GLOBAL_STATE / sizeof *words; i++) {
    if (!is_place(words + i, &it)) continue;
    uintptr_t at = words[i];
    for (int n = 0; n < AREAS_MAX; n++) {
      uintptr_t next = (uintptr_t)it.next;
      size_t size = it.size;
      __deregister_frame((void *)(at + offsetof(area, frame)));
      munmap((void *)at, size);
      at = next;
      if (!is_area(at, &it)) break;
    }
    return;
  }
}
