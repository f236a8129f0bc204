/* Histories that cannot be read whole, and what becomes of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fault.h"
#include "base/json.h"
#include "base/mem.h"
#include "event/skip.h"
#include "node/repair.h"
#include "node/side.h"

static void record_of(side *s, const char *actor, uint64_t first,
                      uint32_t events, const char *id, ae_buf *out) {
  ae_buf packed = {0};
  for (uint32_t i = 0; i < events; i++) {
    ae_pack_array(&packed, 4);
    ae_pack_cstr(&packed, "Counted");
    ae_pack_uint(&packed, 1);
    ae_pack_map(&packed, 0);
    ae_pack_nil(&packed);
  }
  s->time += 3;
  ae_commit commit = {.ref = side_ref(actor),
                      .first_version = first,
                      .time = s->time,
                      .id = ae_uuid7_make(&s->uuids, s->time)};
  ae_commit_command command = {.events = events, .id = ae_str_of(id)};
  if (events == 0) command.reason = AE_STR("no");
  ae_commit_encode(out, &commit, &command, 1, ae_buf_view(&packed), events);
  ae_buf_clear(&packed);
}

/* One letter a commit of account/a, another's between them: "g" good with one
 * event, "w" with three; "r" a rejection; "b" bytes that are no record with one
 * event, "B" with three; "e" without events; "o" another actor's record; "v" of
 * another version. */
static uint64_t story(side *s, const char *letters, uint64_t version) {
  static int letter; /* ids are never the same */
  uint64_t other = 0;
  bool first = s->time == 1700000000000000;
  const char *actor = "bank/account/a";
  letter++;
  for (const char *at = letters; *at; at++) {
    ae_buf record = {0};
    uint32_t events = strchr("re", *at) ? 0 : strchr("wB", *at) ? 3 : 1;
    char id[32];
    snprintf(id, sizeof id, "id-%d-%d", letter, (int)(at - letters));
    if (strchr("gwr", *at))
      record_of(s, actor, version + 1, events, id, &record);
    else if (*at == 'o')
      record_of(s, "bank/account/z", version + 1, events, id, &record);
    else if (*at == 'v')
      record_of(s, actor, version + 2, events, id, &record);
    else
      ae_buf_str(&record, AE_STR("this is no record"));
    bool ids = strchr("gwr", *at) != NULL;
    side_append(s, actor, version, events, ids, record);
    version += events;
    ae_buf_reset(&record);
    record_of(s, "bank/account/between", other + 1, 1, NULL, &record);
    if (first && other < 3)
      side_append(s, "bank/account/between", other++, 1, 0, record);
    ae_buf_clear(&record);
  }
  return version;
}

typedef struct repaired {
  ae_repair repair;
  ae_status status;
  unsigned done;
  bool refuse;
  char said[300];
} repaired;

static void on_done(ae_repair *repair, ae_status status, const ae_error *err) {
  repaired *r = repair->data;
  r->status = status;
  r->done++;
  snprintf(r->said, sizeof r->said, "%s", err ? ae_error_text(err) : "");
}

static bool on_confirm(ae_repair *repair) {
  return !((repaired *)repair->data)->refuse;
}

static repaired repair_of(side *s, const char *actor, ae_repair_way way,
                          bool refuse) {
  static char side_name[128];
  repaired r = {.refuse = refuse};
  snprintf(side_name, sizeof side_name, "%s/events.db",
           s->folder[0] ? s->folder : "/tmp");
  r.repair = (ae_repair){.ref = side_ref(actor),
                         .way = way,
                         .side = side_name,
                         .node = "n1",
                         .confirm = on_confirm,
                         .done = on_done,
                         .data = &r};
  assert_int_equal(ae_repair_start(s->store, &r.repair, NULL), AE_OK);
  ae_loop_run(&s->loop);
  assert_int_equal(r.done, 1);
  if (!s->folder[0] && r.repair.kept) unlink(r.repair.kept);
  return r;
}

/* "2-4:1 7-6:1": versions and records of each hole. */
static void holes_are(const repaired *r, const char *wanted) {
  ae_buf text = {0};
  for (size_t i = 0; i < r->repair.hole_count; i++)
    ae_buf_printf(&text, "%s%llu-%llu:%llu", i ? " " : "",
                  (unsigned long long)r->repair.holes[i].from,
                  (unsigned long long)r->repair.holes[i].to,
                  (unsigned long long)r->repair.holes[i].records);
  assert_string_equal(ae_buf_cstr(&text), wanted);
  ae_buf_clear(&text);
}

static size_t lines_in(const char *path) {
  size_t lines = 0;
  int c;
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  while ((c = fgetc(file)) != EOF) lines += c == '\n';
  fclose(file);
  return lines;
}

static const struct {
  const char *story, *holes;
  uint64_t latest, behind;
  size_t records; /* that give way to --truncate */
} stories[] = {
    {"ggg", "", 3, 0, 0},
    {"gBg", "2-4:1", 5, 1, 2},
    {"Bgg", "1-3:1", 5, 2, 3},
    {"ggB", "3-5:1", 5, 0, 1},
    {"b", "1-1:1", 1, 0, 1},
    {"gbBbg", "2-6:3", 7, 1, 4},
    {"gbgbg", "2-2:1 4-4:1", 5, 2, 4},
    {"gewg", "2-1:1", 5, 2, 3},
    {"grbrg", "2-2:1", 3, 2, 3},
    {"gog", "2-2:1", 3, 1, 2},
    {"gvg", "2-2:1", 3, 1, 2},
    {"gwge", "6-5:1", 5, 0, 1},
};
enum { STORIES = sizeof stories / sizeof *stories };

static void what_is_wrong_is_found(void **state) {
  (void)state;
  for (int way = 0; way < 2 * STORIES; way++) {
    side s;
    side_open(&s, way % 2);
    assert_int_equal(story(&s, stories[way / 2].story, 0),
                     stories[way / 2].latest);
    for (int round = 0; round < 2; round++) {
      repaired r = repair_of(&s, "bank/account/a",
                             round ? AE_REPAIR_SKIP : AE_REPAIR_LOOK, true);
      bool wrong = stories[way / 2].holes[0] != 0;
      assert_int_equal(r.status, round && wrong ? AE_CANCELED : AE_OK);
      holes_are(&r, stories[way / 2].holes);
      assert_int_equal(r.repair.latest, stories[way / 2].latest);
      assert_int_equal(r.repair.behind, stories[way / 2].behind);
      assert_null(r.repair.kept);
      ae_buf packed = {0}, text = {0};
      ae_repair_pack(&r.repair, &packed);
      assert_true(ae_pack_valid(ae_buf_view(&packed)));
      ae_json_write(ae_buf_view(&packed), &text);
      assert_non_null(strstr(ae_buf_cstr(&text), "\"holes\":["));
      ae_buf_clear(&packed);
      ae_buf_clear(&text);
      ae_repair_clear(&r.repair);
    }
    side_close(&s);
  }
}

/* Nothing is wrong any more, and versions go on. */
static void is_whole(side *s, uint64_t latest) {
  for (int round = 0; round < 2; round++) {
    repaired r = repair_of(s, "bank/account/a", AE_REPAIR_LOOK, false);
    assert_int_equal(r.status, latest > 0 ? AE_OK : AE_NOT_FOUND);
    holes_are(&r, "");
    assert_int_equal(r.repair.latest, latest);
    ae_repair_clear(&r.repair);
    r = repair_of(s, "bank/account/between", AE_REPAIR_LOOK, false);
    assert_int_equal(r.status, AE_OK);
    holes_are(&r, "");
    ae_repair_clear(&r.repair);
    if (!s->folder[0]) break;
    side_close_store(s);
    side_reopen(s);
  }
}

static void skipping_keeps_the_versions(void **state) {
  (void)state;
  for (int way = 0; way < 2 * STORIES; way++) {
    side s;
    side_open(&s, way % 2);
    uint64_t latest = story(&s, stories[way / 2].story, 0);
    repaired r = repair_of(&s, "bank/account/a", AE_REPAIR_SKIP, false);
    if (r.status != AE_OK) fail_msg("%s: %s", stories[way / 2].story, r.said);
    assert_int_equal(r.repair.version, latest);
    if (way % 2 && r.repair.kept)
      assert_int_equal(lines_in(r.repair.kept), r.repair.removed);
    assert_int_equal(r.repair.kept != NULL, r.repair.hole_count > 0);
    ae_repair_clear(&r.repair);
    is_whole(&s, latest);
    assert_int_equal(story(&s, "gwg", latest), latest + 5);
    is_whole(&s, latest + 5);
    side_close(&s);
  }
}

static void truncating_goes_back(void **state) {
  (void)state;
  for (int way = 2; way < 2 * STORIES; way++) {
    side s;
    side_open(&s, way % 2);
    story(&s, stories[way / 2].story, 0);
    uint64_t before = strtoull(stories[way / 2].holes, NULL, 10) - 1;
    repaired r = repair_of(&s, "bank/account/a", AE_REPAIR_TRUNCATE, false);
    if (r.status != AE_OK) fail_msg("%s: %s", stories[way / 2].story, r.said);
    assert_int_equal(r.repair.version, before);
    assert_int_equal(r.repair.removed, stories[way / 2].records);
    if (way % 2)
      assert_int_equal(lines_in(r.repair.kept), stories[way / 2].records);
    ae_repair_clear(&r.repair);
    is_whole(&s, before);
    assert_int_equal(story(&s, "gwg", before), before + 5);
    is_whole(&s, before + 5);
    side_close(&s);
  }
}

static void each_step_fails(void **state) {
  (void)state;
  static const char *const steps[] = {"repair.open",  "repair.write",
                                      "repair.sync",  "sqlite.mend",
                                      "sqlite.begin", "sqlite.commit"};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    side s;
    side_open(&s, true);
    uint64_t latest = story(&s, "gbgBgeg", 0);
    unsigned failed = 0;
    for (unsigned nth = 1; nth < 30; nth++) {
      ae_fault_arm(steps[i], nth, nth % 2 ? EIO : ENOSPC);
      repaired r = repair_of(&s, "bank/account/a", AE_REPAIR_SKIP, false);
      ae_fault_reset();
      failed += r.status != AE_OK;
      if (r.status != AE_OK) assert_true(strlen(r.said) > 20);
      assert_int_equal(r.repair.latest, latest);
      ae_repair_clear(&r.repair);
    }
    assert_true(failed > 0);
    repaired r = repair_of(&s, "bank/account/a", AE_REPAIR_SKIP, false);
    assert_int_equal(r.status, AE_OK);
    ae_repair_clear(&r.repair);
    is_whole(&s, latest);
    side_close(&s);
  }
}

static void a_long_history(void **state) {
  (void)state;
  side s;
  side_open(&s, true);
  char letters[3001];
  memset(letters, 'g', 3000);
  letters[3000] = 0;
  letters[700] = letters[701] = letters[1500] = letters[2999] = 'b';
  uint64_t latest = story(&s, letters, 0);
  side_close_store(&s);
  side_reopen(&s);
  repaired r = repair_of(&s, "bank/account/a", AE_REPAIR_SKIP, false);
  assert_int_equal(r.status, AE_OK);
  holes_are(&r, "701-702:2 1501-1501:1 3000-3000:1");
  assert_int_equal(r.repair.commits, 2996);
  ae_repair_clear(&r.repair);
  is_whole(&s, latest);
  side_close(&s);
}

static void ways_have_words(void **state) {
  (void)state;
  ae_repair_way way;
  ae_error err = {0};
  assert_int_equal(ae_repair_way_of(AE_STR("skip"), &way, &err), AE_OK);
  assert_int_equal(way, AE_REPAIR_SKIP);
  assert_int_equal(ae_repair_way_of(AE_STR("truncate"), &way, &err), AE_OK);
  assert_int_equal(way, AE_REPAIR_TRUNCATE);
  assert_int_equal(ae_repair_way_of(AE_STR("skipp"), &way, &err), AE_MALFORMED);
  ae_error_clear(&err);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_wrong_is_found),
      cmocka_unit_test(skipping_keeps_the_versions),
      cmocka_unit_test(truncating_goes_back),
      cmocka_unit_test(each_step_fails),
      cmocka_unit_test(a_long_history),
      cmocka_unit_test(ways_have_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
