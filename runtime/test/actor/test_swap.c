/* Another script in the place of a realm's, and history as judge of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include "actor/judge.h"
#include "actor/world.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "store/replay.h"

/* -- swap -- */

/* An account that adds `times` as much, and says so. */
static ae_script *made(int times, const char *more) {
  ae_buf text = {0};
  ae_buf_printf(
      &text,
      "local event = require('aether.event')\n"
      "local account = { initial = { open = false, balance = 0 },\n"
      "  snapshot = { version = %d, every = 10 } }\n"
      "account.decide = {\n"
      "  deposit = function(_, deposit)\n"
      "    return event('Deposited', { amount = %d * deposit.amount })\n"
      "  end,\n"
      "  touch = function() return {} end,\n"
      "}\n"
      "account.evolve = {\n"
      "  Deposited = function(state, deposited)\n"
      "    state.balance = state.balance + deposited.amount\n"
      "  end,\n"
      "  Opened = function(state) state.open = true end,\n"
      "}\n"
      "%s\n"
      "return account\n",
      times == 1 ? 1 : 2, times, more ? more : "");
  ae_script_source source = {AE_STR("account"), ae_buf_view(&text)};
  ae_script_options options = {.ns = AE_STR("bank"),
                               .folder = "/nowhere",
                               .sources = &source,
                               .source_count = 1,
                               .handler_ms = 20};
  ae_error err = {0};
  ae_script *script;
  if (ae_script_open(&options, &script, &err) != AE_OK)
    fail_msg("%s", ae_error_text(&err));
  ae_buf_clear(&text);
  return script;
}

/* The script of the world is closed with it. */
static void put(world *w, ae_script *script) {
  ae_script *old = ae_realm_script(w->realm);
  assert_ptr_equal(old, w->script);
  ae_actors_swap(w->realm, script);
  ae_script_close(old);
  w->script = script;
}

typedef struct scanned {
  ae_scan scan;
  uint64_t position;
  char revision[17];
} scanned;

static void on_page(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  scanned *s = scan->data;
  (void)err;
  assert_int_equal(status, AE_OK);
  for (uint32_t i = 0; i < page->count; i++) {
    if (page->records[i].position != s->position) continue;
    ae_commit commit;
    assert_int_equal(ae_commit_decode(page->records[i].bytes, &commit, NULL),
                     AE_OK);
    memcpy(s->revision, commit.module_revision.ptr, 16);
  }
  if (!page->end) ae_scan_more(scan);
}

static ae_str revision_at(world *w, uint64_t position, char out[17]) {
  scanned s = {.position = position};
  s.scan = (ae_scan){
      .after = position - 1, .until = position, .cb = on_page, .data = &s};
  assert_int_equal(ae_store_scan(w->store, &s.scan, NULL), AE_OK);
  ae_loop_run(&w->loop);
  memcpy(out, s.revision, 17);
  return ae_str_of(out);
}

static void swaps_between_two_commands(void **unused) {
  (void)unused;
  world *w = world_open(0, 0, 0);
  sent s;
  hand_in(w, &s, "bank/account/a", "open", "{}", NULL, -1);
  sent_clear(&s);
  hand_in(w, &s, "bank/account/a", "deposit", "{\"amount\":5}", NULL, -1);
  char revision[17], old[17];
  memcpy(old, ae_script_revision(w->script).ptr, 17);
  assert_true(ae_str_eq(revision_at(w, s.position, revision), ae_str_of(old)));
  sent_clear(&s);
  put(w, made(10, NULL));
  hand_in(w, &s, "bank/account/a", "deposit", "{\"amount\":5}", NULL, -1);
  assert_int_equal(s.status, AE_OK);
  assert_int_equal(s.version, 3);
  revision_at(w, s.position, revision);
  assert_string_not_equal(revision, old);
  assert_true(ae_str_eq(ae_str_of(revision), ae_script_revision(w->script)));
  sent_clear(&s);
  expect_state(w, "bank/account/a", UINT64_MAX, 3,
               "{\"balance\":55,\"open\":true}");
  /* What the old one had, this one does not. */
  hand_in(w, &s, "bank/account/a", "withdraw", "{\"amount\":1}", NULL, -1);
  assert_int_equal(s.status, AE_UNKNOWN_COMMAND);
  sent_clear(&s);
  world_close(w);
}

typedef struct swapper {
  world *w;
  ae_task task;
  int times;
  unsigned left;
} swapper;

static void on_turn(ae_task *task) {
  swapper *it = AE_CONTAINER(task, swapper, task);
  if (--it->left % 8 == 0) {
    put(it->w, made(it->times, NULL));
    it->times = it->times == 1 ? 10 : 1;
  }
  if (it->left > 0) ae_loop_defer(&it->w->loop, &it->task);
}

typedef struct mixed {
  ae_scan scan;
  const char *ones; /* revision of the script that adds 1 */
  int64_t of_one, of_ten;
} mixed;

static void on_commits(ae_scan *scan, ae_status status, const ae_page *page,
                       const ae_error *err) {
  mixed *m = scan->data;
  (void)err;
  assert_int_equal(status, AE_OK);
  ae_replay replay;
  ae_event event;
  ae_replay_init(&replay, page, 0, UINT64_MAX);
  while (ae_replay_next(&replay, &event, NULL) == AE_OK) {
    bool one = ae_str_eq(event.module_revision, ae_str_of(m->ones));
    uint64_t amount = 0;
    ae_str value;
    assert_true(ae_unpack_field(event.data, "amount", &value));
    ae_unpack cursor = ae_unpack_of(value);
    assert_true(ae_unpack_uint(&cursor, &amount));
    assert_int_equal(amount, one ? 1 : 10);
    *(one ? &m->of_one : &m->of_ten) += 1;
  }
  if (!page->end) ae_scan_more(scan);
}

/* Commands of all phases are under way while scripts change from turn to turn:
 * none is lost, and what each decided is of the revision that its commit
 * names. */
static void swaps_under_load(void **unused) {
  (void)unused;
  enum { COUNT = 3000, ACTORS = 50 };
  static char ids[COUNT][16], names[ACTORS][32];
  world *w = world_open(0, 0, 0);
  put(w, made(1, NULL));
  char ones[17];
  memcpy(ones, ae_script_revision(w->script).ptr, 17);
  sent *s = ae_zalloc(sizeof(sent) * COUNT);
  seen reads[ACTORS];
  swapper it = {.w = w, .task = {.run = on_turn}, .times = 10, .left = 80};
  ae_loop_defer(&w->loop, &it.task);
  for (int i = 0; i < COUNT; i++) {
    char *actor = names[i % ACTORS];
    snprintf(actor, sizeof names[0], "bank/account/a%d", i % ACTORS);
    snprintf(ids[i], sizeof ids[i], "c%d", i);
    submit(w, &s[i], actor, "deposit", "{\"amount\":1}", i % 3 ? NULL : ids[i],
           -1);
    if (i < ACTORS) look(w, &reads[i], actor, UINT64_MAX);
  }
  ae_loop_run(&w->loop);
  assert_int_equal(it.left, 0);
  for (int i = 0; i < COUNT; i++) {
    assert_int_equal(s[i].calls, 1);
    if (s[i].status != AE_OK) fail_msg("%s", ae_buf_cstr(&s[i].error));
    assert_int_equal(s[i].events, 1);
  }
  mixed m = {.ones = ones};
  m.scan = (ae_scan){.until = UINT64_MAX, .cb = on_commits, .data = &m};
  assert_int_equal(ae_store_scan(w->store, &m.scan, NULL), AE_OK);
  ae_loop_run(&w->loop);
  assert_int_equal(m.of_one + m.of_ten, COUNT);
  assert_true(m.of_one > 0 && m.of_ten > 0);
  int64_t sum = 0;
  for (int i = 0; i < ACTORS; i++) {
    assert_int_equal(reads[i].calls, 1);
    assert_int_equal(reads[i].status, AE_OK);
    ae_buf_clear(&reads[i].json);
    seen last;
    look(w, &last, names[i], UINT64_MAX);
    ae_loop_run(&w->loop);
    assert_int_equal(last.version, COUNT / ACTORS);
    sum += atoi(strchr(ae_buf_cstr(&last.json), ':') + 1);
    ae_buf_clear(&last.json);
  }
  assert_int_equal(sum, m.of_one + 10 * m.of_ten);
  for (int i = 0; i < COUNT; i++) sent_clear(&s[i]);
  ae_free(s);
  world_close(w);
}

/* An aggregate that the new code does not have: all that waits is told so. */
static void what_is_gone_is_unknown(void **unused) {
  (void)unused;
  world *w = world_open(0, 0, 0);
  assert_int_equal(tell(w, "bank/memo/m", "add", "{\"n\":1}"), AE_OK);
  sent s, t;
  seen read;
  submit(w, &s, "bank/memo/m", "add", "{\"n\":1}", "id", -1);
  submit(w, &t, "bank/memo/n", "add", "{\"n\":1}", NULL, 7); /* conflicts */
  look(w, &read, "bank/memo/o", UINT64_MAX);
  swapper it = {.w = w, .task = {.run = on_turn}, .times = 1, .left = 1};
  ae_loop_defer(&w->loop, &it.task);
  ae_loop_run(&w->loop);
  assert_int_equal(s.calls + t.calls + read.calls, 3);
  assert_true(s.status == AE_OK || s.status == AE_UNKNOWN_TYPE);
  sent_clear(&s);
  sent_clear(&t);
  ae_buf_clear(&read.json);
  assert_int_equal(tell(w, "bank/memo/m", "add", "{\"n\":1}"), AE_UNKNOWN_TYPE);
  assert_int_equal(tell(w, "bank/account/m", "touch", "{}"), AE_OK);
  world_close(w);
}

/* -- judge -- */

typedef struct judging {
  ae_judge judge;
  ae_buf text; /* a line for each finding */
  int found, done;
  ae_status status;
  bool stop;
} judging;

static void run_tasks(void *data, ae_task *task) {
  (void)data;
  while (task) {
    ae_task *next = task->next;
    task->run(task);
    task = next;
  }
}

static void on_found(ae_judge *judge, const ae_judged *judged) {
  judging *it = judge->data;
  it->found++;
  ae_buf_printf(&it->text, "%.*s v%llu ", AE_FMT(judged->ref.id),
                (unsigned long long)judged->version);
  if (judged->err) {
    ae_buf_printf(&it->text, "%s", ae_error_text(judged->err));
  } else {
    ae_json_write(judged->before, &it->text);
    ae_buf_printf(&it->text, " → ");
    ae_json_write(judged->after, &it->text);
  }
  ae_buf_byte(&it->text, '\n');
  if (it->stop) ae_judge_stop(judge);
}

static void on_done(ae_judge *judge, ae_status status, const ae_error *err) {
  judging *it = judge->data;
  (void)err;
  it->done++;
  it->status = status;
}

static void judge(world *w, judging *it, ae_script *script, uint32_t most) {
  ae_worker *worker;
  assert_int_equal(ae_worker_start(&worker, "judge", 0, run_tasks, NULL, NULL),
                   AE_OK);
  it->judge = (ae_judge){.realm = w->realm,
                         .script = script,
                         .worker = worker,
                         .most = most,
                         .found = on_found,
                         .done = on_done,
                         .data = it};
  ae_judge_start(&it->judge);
  ae_loop_run(&w->loop);
  assert_int_equal(it->done, 1);
  ae_worker_stop(worker);
  ae_script_close(script);
}

static void fill(world *w, int actors, int events) {
  for (int i = 0; i < actors; i++) {
    char actor[32];
    snprintf(actor, sizeof actor, "bank/account/a%d", i);
    for (int k = 0; k < events; k++)
      assert_int_equal(tell(w, actor, "deposit", "{\"amount\":2}"), AE_OK);
  }
}

static void the_same_states_pass(void **unused) {
  (void)unused;
  world *w = world_open(5, 0, 0);
  fill(w, 20, 30);
  judging it = {0};
  judge(w, &it, made(10, NULL), 7);
  assert_int_equal(it.judge.actors, 7);
  assert_int_equal(tell(w, "bank/memo/m", "add", "{\"n\":1}"), AE_OK);
  it = (judging){0};
  judge(w, &it, made(10, NULL), 100);
  assert_int_equal(it.status, AE_OK);
  assert_int_equal(it.found, 0);
  /* Of the live ones and those that the store holds; no memo in the new. */
  assert_int_equal(it.judge.actors, 20);
  assert_int_equal(it.judge.events, 600);
  assert_int_equal(it.judge.skipped, 0);
  it = (judging){0};
  judge(w, &it, made(10, NULL), 0);
  assert_int_equal(it.judge.actors, 0);
  assert_int_equal(it.status, AE_OK);
  world_close(w);
}

static void other_states_are_shown(void **unused) {
  (void)unused;
  world *w = world_open(0, 0, 0);
  fill(w, 3, 2);
  judging it = {0};
  judge(w, &it,
        made(1,
             "local was = account.evolve.Deposited\n"
             "function account.evolve.Deposited(state, deposited)\n"
             "  was(state, deposited)\n"
             "  state.count = (state.count or 0) + 1\n"
             "end"),
        100);
  assert_int_equal(it.status, AE_OK);
  assert_int_equal(it.found, 3);
  assert_non_null(strstr(ae_buf_cstr(&it.text),
                         "a1 v2 {\"balance\":4,\"open\":false} → "
                         "{\"balance\":4,\"count\":2,\"open\":false}\n"));
  ae_buf_clear(&it.text);
  it = (judging){.stop = true};
  judge(w, &it, made(1, "account.initial.more = 1"), 100);
  assert_int_equal(it.status, AE_CANCELED);
  assert_int_equal(it.found, 1);
  ae_buf_clear(&it.text);
  world_close(w);
}

static void failures_are_told(void **unused) {
  (void)unused;
  static const struct {
    const char *more, *says;
  } cases[] = {
      {"account.evolve.Deposited = nil",
       "a0 v0 bank/account.lua: there is a stored event Deposited, but nothing "
       "evolves it"},
      {"function account.evolve.Deposited(state, d)\n"
       "  if state.balance > 3 then error('too much') end\n"
       "  state.balance = state.balance + d.amount end",
       "too much"},
      {"function account.evolve.Deposited() while true do end end",
       "evolve.Deposited was stopped: it took more than 20 ms"},
      {"function account.evolve.Deposited(state) state.f = print end",
       "state.f is a function"},
  };
  world *w = world_open(0, 0, 0);
  fill(w, 1, 5);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    judging it = {0};
    judge(w, &it, made(1, cases[i].more), 100);
    assert_int_equal(it.found, 1);
    if (!strstr(ae_buf_cstr(&it.text), cases[i].says))
      fail_msg("%s lacks %s", ae_buf_cstr(&it.text), cases[i].says);
    ae_buf_clear(&it.text);
    assert_int_equal(tell(w, "bank/account/a0", "touch", "{}"), AE_OK);
  }
  /* What the code that runs cannot replay either is not the new one's fault. */
  assert_int_equal(intrude(w, "bank/account/b", 0, "Unheard", 1, false), AE_OK);
  assert_int_equal(intrude(w, "bank/account/c", 0, "Deposited", 1, true),
                   AE_OK);
  judging it = {0};
  judge(w, &it, made(1, NULL), 100);
  assert_int_equal(it.found, 0);
  assert_int_equal(it.judge.actors, 3);
  assert_int_equal(it.judge.skipped, 2);
  world_close(w);
}

/* Closing waits for a judge, which can be told to stop. */
static void commands_go_on_meanwhile(void **unused) {
  (void)unused;
  world *w = world_open(0, 0, 0);
  fill(w, 30, 10);
  ae_worker *worker;
  assert_int_equal(ae_worker_start(&worker, "judge", 0, run_tasks, NULL, NULL),
                   AE_OK);
  ae_script *script = made(10, NULL);
  judging it = {.judge = {.realm = w->realm,
                          .script = script,
                          .worker = worker,
                          .most = 100,
                          .found = on_found,
                          .done = on_done,
                          .data = &it}};
  ae_judge_start(&it.judge);
  sent s[60];
  for (int i = 0; i < 60; i++) {
    char actor[32];
    snprintf(actor, sizeof actor, "bank/account/a%d", i % 30);
    submit(w, &s[i], actor, "deposit", "{\"amount\":1}", NULL, -1);
  }
  ae_loop_run(&w->loop);
  for (int i = 0; i < 60; i++) {
    assert_int_equal(s[i].status, AE_OK);
    sent_clear(&s[i]);
  }
  assert_int_equal(it.done, 1);
  assert_int_equal(it.found, 0);
  assert_int_equal(it.judge.actors, 30);
  ae_judge_stop(&it.judge);
  it = (judging){.judge = it.judge};
  it.judge.data = &it;
  ae_judge_start(&it.judge);
  ae_judge_stop(&it.judge);
  world_close(w);
  assert_int_equal(it.done, 1);
  assert_int_equal(it.status, AE_CANCELED);
  ae_worker_stop(worker);
  ae_script_close(script);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(swaps_between_two_commands),
      cmocka_unit_test(swaps_under_load),
      cmocka_unit_test(what_is_gone_is_unknown),
      cmocka_unit_test(the_same_states_pass),
      cmocka_unit_test(other_states_are_shown),
      cmocka_unit_test(failures_are_told),
      cmocka_unit_test(commands_go_on_meanwhile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
