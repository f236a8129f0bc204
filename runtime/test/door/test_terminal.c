#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "door/terminal.h"

#define SIZE ((size_t)1 << 20)

/* Reads only when the pipe is full, so that a write has to wait. */
static void read_late(int from) {
  char part[4096];
  size_t all = 0;
  int held = 0, before = -1;
  for (int same = 0;
       same<1000; same = held> 0 && held == before ? same + 1 : 0) {
    before = held;
    if (ioctl(from, FIONREAD, &held) != 0) _exit(1);
  }
  for (;;) {
    ssize_t got = read(from, part, sizeof part);
    if (got < 0) _exit(1);
    if (got == 0) break;
    all += (size_t)got;
  }
  _exit(all == SIZE ? 0 : 1);
}

static void waits_where_stdout_does_not_block(void **state) {
  (void)state;
  int ends[2], status;
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    close(ends[1]);
    read_late(ends[0]);
  }
  close(ends[0]);
  int kept = dup(STDOUT_FILENO);
  assert_true(kept >= 0);
  assert_int_equal(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
  close(ends[1]);
  char *bytes = ae_zalloc(SIZE);
  bool written = ae__write_out(bytes, SIZE);
  dup2(kept, STDOUT_FILENO);
  close(kept);
  ae_free(bytes);
  assert_true(written);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(waits_where_stdout_does_not_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
