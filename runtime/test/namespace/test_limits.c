/* Buckets in virtual time, and what is said of a limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "namespace/limits.h"

#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)

static unsigned taken_at(ae_bucket *bucket, uint64_t now) {
  unsigned taken = 0;
  while (taken < 10000 && ae_bucket_take(bucket, now)) taken++;
  return taken;
}

static void it_fills_at_its_rate(void **state) {
  (void)state;
  ae_bucket bucket;
  ae_bucket_init(&bucket, 100, 5 * S);
  assert_int_equal(taken_at(&bucket, 5 * S), 100); /* a second's worth */
  assert_int_equal(ae_bucket_wait_ms(&bucket, 5 * S), 10);
  assert_int_equal(taken_at(&bucket, 5 * S + 9 * MS), 0);
  assert_int_equal(ae_bucket_wait_ms(&bucket, 5 * S + 9 * MS), 1);
  assert_int_equal(taken_at(&bucket, 5 * S + 10 * MS), 1);
  assert_int_equal(taken_at(&bucket, 5 * S + 510 * MS), 50);
  assert_int_equal(taken_at(&bucket, 100 * S), 100); /* and no more */
  /* Time that stands, or seems to run back, fills nothing. */
  assert_int_equal(taken_at(&bucket, 100 * S), 0);
  assert_int_equal(taken_at(&bucket, 99 * S), 0);
  assert_int_equal(taken_at(&bucket, 100 * S), 0);
  assert_int_equal(taken_at(&bucket, 100 * S + 20 * MS), 2);
}

static void a_slow_one_gives_one_at_a_time(void **state) {
  (void)state;
  ae_bucket bucket;
  ae_bucket_init(&bucket, 0.5, 0);
  assert_int_equal(taken_at(&bucket, 0), 1);
  assert_int_equal(ae_bucket_wait_ms(&bucket, 0), 2000);
  assert_int_equal(taken_at(&bucket, 2 * S - MS), 0);
  assert_int_equal(taken_at(&bucket, 2 * S), 1);
  assert_int_equal(taken_at(&bucket, 1000 * S), 1);
  ae_bucket_init(&bucket, 1e-30, 0);
  assert_int_equal(taken_at(&bucket, UINT64_MAX / 2), 1);
  assert_true(ae_bucket_wait_ms(&bucket, UINT64_MAX / 2) >= 1000000000);
  ae_bucket_init(&bucket, 1e9, 0);
  ae_bucket_spend(&bucket, 1e9);
  assert_int_equal(taken_at(&bucket, 1000), 1000);
}

static void a_debt_is_paid_first(void **state) {
  (void)state;
  ae_bucket bucket;
  ae_bucket_init(&bucket, 10, 0);
  assert_true(ae_bucket_take(&bucket, 0));
  ae_bucket_spend(&bucket, 29); /* a batch of thirty */
  assert_int_equal(ae_bucket_wait_ms(&bucket, 0), 2100);
  assert_false(ae_bucket_take(&bucket, 2099 * MS));
  assert_int_equal(taken_at(&bucket, 2100 * MS), 1);
  assert_int_equal(ae_bucket_wait_ms(&bucket, 2100 * MS), 100);
  /* What was not used comes back, to the brim. */
  ae_bucket_spend(&bucket, -1);
  assert_int_equal(ae_bucket_wait_ms(&bucket, 2100 * MS), 0);
  assert_int_equal(taken_at(&bucket, 2100 * MS), 1);
  ae_bucket_spend(&bucket, -1000);
  assert_int_equal(taken_at(&bucket, 2100 * MS), 10);
}

/* Whatever comes when: never more than a second's worth and what the time
 * filled, and who waits as long as it is told gets its token. */
static void it_never_gives_more(void **state) {
  (void)state;
  static const double rates[] = {0.3, 1, 7, 100, 12345.6};
  srandom(3);
  for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
    double rate = rates[i];
    ae_bucket bucket;
    uint64_t start = 77 * S, now = start, given = 0;
    ae_bucket_init(&bucket, rate, now);
    for (int step = 0; step < 20000; step++) {
      now += (uint64_t)random() % (uint64_t)(3e9 / rate);
      uint64_t wait = ae_bucket_wait_ms(&bucket, now);
      bool got = ae_bucket_take(&bucket, now);
      assert_int_equal(got, wait == 0);
      given += got;
      if (!got && random() % 2) {
        now += wait * MS;
        assert_true(ae_bucket_take(&bucket, now));
        given++;
      }
      double most = (rate > 1 ? rate : 1) + rate * (double)(now - start) / 1e9;
      assert_true((double)given <= most + 1e-3);
    }
    assert_true(given > 100);
  }
}

static void says(ae_limit limit, double number, uint64_t wait_ms,
                 const char *wanted) {
  ae_limits limits = {.commands_per_s = number,
                      .events_per_s = number,
                      .bytes = (uint64_t)number,
                      .live_actors = (size_t)number};
  ae_error err = {0};
  ae_buf packed = {0}, json = {0};
  assert_int_equal(
      ae_limit_refuse(&err, limit, AE_STR("bank"), &limits, wait_ms),
      AE_OVERLOADED);
  assert_int_equal(err.status, AE_OVERLOADED);
  ae_error_render(&err, &packed);
  ae_json_write(ae_buf_view(&packed), &json);
  assert_string_equal(ae_buf_cstr(&json), wanted);
  ae_buf_clear(&packed);
  ae_buf_clear(&json);
  ae_error_clear(&err);
  assert_int_equal(
      ae_limit_refuse(NULL, limit, AE_STR("bank"), &limits, wait_ms),
      AE_OVERLOADED);
}

static void a_limit_is_named_with_what_to_do(void **state) {
  (void)state;
  says(AE_LIMIT_COMMANDS, 2.5, 400,
       "{\"code\":\"overloaded\",\"message\":\"bank takes 2.5 commands a "
       "second: send it again in 400 ms (limits.commands_per_s)\","
       "\"queue\":\"commands_per_s\",\"limit\":2.5,\"retry_after\":400}");
  says(AE_LIMIT_EVENTS, 1000, 1,
       "{\"code\":\"overloaded\",\"message\":\"bank stores 1000 events a "
       "second, and is ahead of that: send it again in 1 ms "
       "(limits.events_per_s)\",\"queue\":\"events_per_s\",\"limit\":1000,"
       "\"retry_after\":1}");
  says(AE_LIMIT_BYTES, 1073741824, 0,
       "{\"code\":\"overloaded\",\"message\":\"the stored records of bank take "
       "the 1073741824 bytes that it may hold: raise its limit, or let "
       "retention remove old events (limits.bytes)\",\"queue\":\"bytes\","
       "\"limit\":1073741824}");
  says(AE_LIMIT_ACTORS, 2, 0,
       "{\"code\":\"overloaded\",\"message\":\"all of the 2 actors that bank "
       "may hold live are at work: send it again when some were answered, or "
       "raise the limit (limits.live_actors)\",\"queue\":\"live_actors\","
       "\"limit\":2}");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_fills_at_its_rate),
      cmocka_unit_test(a_slow_one_gives_one_at_a_time),
      cmocka_unit_test(a_debt_is_paid_first),
      cmocka_unit_test(it_never_gives_more),
      cmocka_unit_test(a_limit_is_named_with_what_to_do),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
