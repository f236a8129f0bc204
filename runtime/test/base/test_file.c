#include "base/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

static void folder_is(const char *path, const char *folder) {
  char *got = ae_file_folder(path);
  assert_string_equal(got, folder);
  ae_free(got);
}

static void folders(void **state) {
  (void)state;
  folder_is("a", "./");
  folder_is("a/b", "a/");
  folder_is("/a", "/");
  folder_is("/a/b/c d", "/a/b/");
  char *beside = ae_file_beside("/a/b", "-c");
  assert_string_equal(beside, "/a/b-c");
  ae_free(beside);
}

static void folders_are_synced(void **state) {
  (void)state;
  assert_int_equal(ae_file_sync_folder("a name that is not there"), 0);
  assert_int_equal(ae_file_sync_folder("/none/of/it"), ENOENT);
  assert_int_equal(ae_file_sync_folder("/dev/null/x"), ENOTDIR);
}

static void same_files(void **state) {
  (void)state;
  char name[] = "/tmp/aether-file-XXXXXX";
  int file = mkstemp(name);
  assert_true(file >= 0);
  close(file);
  char *link_name = ae_file_beside(name, ".link");
  assert_int_equal(link(name, link_name), 0);
  assert_true(ae_file_same(name, link_name));
  assert_false(ae_file_same(name, "/dev/null"));
  assert_false(ae_file_same(name, "/none/of/it"));
  assert_false(ae_file_same("/none/of/it", "/none/of/it"));
  unlink(link_name);
  unlink(name);
  ae_free(link_name);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(folders),
      cmocka_unit_test(folders_are_synced),
      cmocka_unit_test(same_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
