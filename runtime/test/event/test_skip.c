#include "event/skip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const ae_commit head = {
    .ref = {AE_STR("bank"), AE_STR("account"), AE_STR("a-1")},
    .first_version = 7,
    .time = 1700000000000000,
    .node = AE_STR("n1")};

static void versions_are_kept(void **state) {
  (void)state;
  for (uint32_t events = 0; events < 4; events++) {
    ae_buf record = {0};
    ae_commit commit;
    ae_commit_cursor cursor;
    ae_event event;
    uint32_t seen = 0;
    ae_skip_encode(&record, &head, events, AE_STR("its sum"));
    assert_int_equal(ae_commit_decode(ae_buf_view(&record), &commit, NULL),
                     AE_OK);
    assert_true(ae_skip_is(&commit));
    assert_int_equal(commit.event_count, events);
    assert_int_equal(ae_commit_version(&commit), 6 + events);
    assert_true(ae_ref_eq(&commit.ref, &head.ref));
    ae_commit_walk(&cursor, &commit, 3);
    for (; ae_commit_next(&cursor, &event); seen++) {
      ae_str cause;
      assert_int_equal(event.version, 7 + seen);
      assert_true(ae_str_eq(event.type, AE_STR("$Skipped")));
      assert_int_equal(ae_unpack_field(event.data, "cause", &cause), seen == 0);
      assert_null(event.command_id.ptr);
    }
    assert_int_equal(seen, events);
    ae_buf_clear(&record);
  }
}

static void other_commits_are_none(void **state) {
  (void)state;
  ae_buf record = {0}, events = {0};
  ae_commit commit;
  /* One that holds nothing but a rejected command's id. */
  ae_commit_command rejected = {.id = AE_STR("c"), .reason = AE_STR("no")};
  ae_commit_encode(&record, &head, &rejected, 1, (ae_str){0}, 0);
  assert_int_equal(ae_commit_decode(ae_buf_view(&record), &commit, NULL),
                   AE_OK);
  assert_false(ae_skip_is(&commit));
  /* One of a module's events, whatever its name. */
  ae_pack_array(&events, 4);
  ae_pack_cstr(&events, "Skipped");
  ae_pack_uint(&events, 1);
  ae_pack_map(&events, 0);
  ae_pack_nil(&events);
  ae_commit_command done = {.events = 1};
  ae_buf_reset(&record);
  ae_commit_encode(&record, &head, &done, 1, ae_buf_view(&events), 1);
  assert_int_equal(ae_commit_decode(ae_buf_view(&record), &commit, NULL),
                   AE_OK);
  assert_false(ae_skip_is(&commit));
  ae_buf_clear(&record);
  ae_buf_clear(&events);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(versions_are_kept),
      cmocka_unit_test(other_commits_are_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
