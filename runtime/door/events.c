/* `aether events`: one actor's, or a whole namespace's, in the store's order.
 *
 *   actor:     read from..latest ──(--follow)──► live scan behind the last
 *   namespace: scan after POSITION ──(--follow)──► the same scan, live */

#include "base/mem.h"
#include "door/answer.h"
#include "door/client/door.h"
#include "door/interrupt.h"
#include "door/session.h"
#include "door/terminal.h"
#include "namespace/name.h"
#include "node/page.h"

typedef struct events {
  ae__session session;
  bool is_actor;
  ae_ref ref; /* of the actor; else only ns */
  uint64_t after_version;
  uint64_t after_position;
  bool has_index;
  uint64_t after_index;
  const char *type;
  bool follow;
  bool text;
  ae_read read;
  ae_scan scan;
  ae_stats_read stats;
  bool reading, scanning; /* under way: to be ended by us */
  uint64_t last_version, last_position;
  ae__interrupt interrupt;
  bool watching;
  ae_buf out;
  int exit;
} events;

static void end(events *e) {
  if (e->reading) ae_read_end(&e->read);
  if (e->scanning) ae_scan_end(&e->scan);
  e->reading = e->scanning = false;
  if (e->watching) ae__interrupt_end(&e->interrupt);
  e->watching = false;
  ae__session_end(&e->session);
}

static void fail(events *e, ae_error *err) {
  int exit = ae__complain(e->session.args, err);
  if (exit > e->exit) e->exit = exit;
}

static void fail_with(events *e, ae_status status, const ae_error *err) {
  int exit = ae__complain_of(e->session.args, status, err);
  if (exit > e->exit) e->exit = exit;
}

static bool wanted(const events *e, const ae_event *event) {
  if (e->is_actor) {
    if (!ae_ref_eq(&event->ref, &e->ref)) return false;
    if (event->version <= e->after_version) return false;
    if (event->version <= e->last_version) return false;
  } else if (e->has_index && event->position == e->after_position &&
             event->index <= e->after_index) {
    return false;
  }
  return !e->type || ae_str_eq(event->type, ae_str_of(e->type));
}

static void on_event(void *data, const ae_event *event) {
  events *e = data;
  if (wanted(e, event) && e->text)
    ae__answer_event_text(
        &e->out, event, !e->is_actor, ae__color(stdout, AE__BOLD),
        ae__color(stdout, AE__DIM), ae__color(stdout, AE__PLAIN));
  else if (wanted(e, event))
    ae__answer_event(&e->out, event);
  if (e->is_actor && ae_ref_eq(&event->ref, &e->ref))
    e->last_version = event->version;
}

static void on_damage(void *data, const ae_error *err) {
  fail_with(data, err->status, err);
}

/* False: nothing more can be written. */
static bool print_page(events *e, const ae_page *page) {
  ae_buf_reset(&e->out);
  ae_page_each(page, e->is_actor ? e->after_version + 1 : 0, on_event,
               on_damage, e);
  if (page->count > 0)
    e->last_position = page->records[page->count - 1].position;
  if (ae__write_out(e->out.ptr, e->out.len)) return true;
  e->exit = ae_status_exit(AE_STORE_UNAVAILABLE);
  return false;
}

static void on_scan(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  events *e = scan->data;
  if (status != AE_OK) {
    e->scanning = false;
    if (status != AE_CANCELED) fail_with(e, status, err);
    end(e);
    return;
  }
  bool over = page->end && !scan->live;
  if (over) e->scanning = false;
  if (!print_page(e, page) || over)
    end(e);
  else
    ae_scan_more(scan);
}

static void start_scan(events *e, uint64_t after) {
  ae_error err = {0};
  e->scan = (ae_scan){.ns = e->ref.ns,
                      .after = after,
                      .until = UINT64_MAX,
                      .live = e->follow,
                      .cb = on_scan,
                      .data = e};
  e->scanning = true;
  if (ae_store_scan(ae_node_store(e->session.node), &e->scan, &err) == AE_OK)
    return;
  e->scanning = false;
  fail(e, &err);
  end(e);
}

static void say_trimmed(events *e) {
  if (e->read.base <= e->after_version) return;
  ae_error err = {0};
  ae_error_set(&err, AE_HISTORY_TRIMMED,
               "retention removed the events up to version %llu; showing what "
               "is left",
               (unsigned long long)e->read.base);
  ae_error_uint(&err, "from", e->read.base + 1);
  fail(e, &err);
  e->after_version = e->read.base;
}

static void on_read(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err) {
  events *e = read->data;
  if (status != AE_OK) {
    e->reading = false;
    if (status != AE_CANCELED) fail_with(e, status, err);
    end(e);
    return;
  }
  say_trimmed(e);
  if (page->end) e->reading = false;
  if (!print_page(e, page)) {
    end(e);
  } else if (!page->end) {
    ae_read_more(read);
  } else if (e->follow) {
    start_scan(e, e->last_position);
  } else {
    if (read->latest == 0)
      ae__say("%s has no events", e->session.args->rest[0]);
    end(e);
  }
}

static void start_read(events *e) {
  ae_error err = {0};
  e->read = (ae_read){.ref = e->ref,
                      .from = e->after_version + 1,
                      .to = UINT64_MAX,
                      .cb = on_read,
                      .data = e};
  e->reading = true;
  if (ae_store_read(ae_node_store(e->session.node), &e->read, &err) == AE_OK)
    return;
  e->reading = false;
  fail(e, &err);
  end(e);
}

/* A namespace that neither the app nor the store has is a mistake. */
static void on_stats(ae_stats_read *stats, ae_status status,
                     const ae_error *err) {
  events *e = stats->data;
  const ae_namespace_config *ns;
  ae_error why = {0};
  if (!e->watching) return; /* ended by a signal meanwhile */
  if (status != AE_OK) {
    fail_with(e, status, err);
    end(e);
  } else if (stats->stats.commits == 0 &&
             e->session.config.namespace_count > 0 &&
             ae_config_namespace(&e->session.config, e->ref.ns, &ns, &why) !=
                 AE_OK) {
    fail(e, &why);
    end(e);
  } else if (e->is_actor) {
    start_read(e);
  } else if (e->after_position > 0 &&
             stats->stats.trimmed > e->after_position) {
    ae_page_trimmed(stats->stats.trimmed, e->after_position, &why);
    fail(e, &why);
    end(e);
  } else {
    /* With an index, the commit itself is read again for the rest of it. */
    uint64_t skip = e->has_index && e->after_position > 0 ? 1 : 0;
    start_scan(e, e->after_position - skip);
  }
  ae_error_clear(&why);
}

static void on_interrupt(void *data) {
  end(data);
}

static ae_status read_after(events *e, const char *text, ae_error *err) {
  if (!text) return AE_OK;
  const char *dot = strchr(text, '.');
  ae_str whole = {text, dot ? (size_t)(dot - text) : strlen(text)};
  uint64_t *out = e->is_actor ? &e->after_version : &e->after_position;
  bool good = ae_str_uint(whole, out) && *out < UINT64_MAX;
  if (dot) {
    e->has_index = true;
    good = good && !e->is_actor &&
           ae_str_uint(ae_str_of(dot + 1), &e->after_index);
  }
  if (good) return AE_OK;
  return ae_error_set(
      err, AE_USAGE, "--after must be %s, not \"%s\"",
      e->is_actor ? "a version of the actor" : "POSITION or POSITION.INDEX",
      text);
}

static int ask_node(events *e) {
  const ae__events_wanted wanted = {
      .ref = e->ref,
      .is_actor = e->is_actor,
      .after_version = e->after_version,
      .after_position = e->after_position,
      .has_index = e->has_index,
      .after_index = e->after_index,
      .type = e->type,
      .follow = e->follow,
      .text = e->text,
  };
  int exit = ae__client_events(&e->session, &wanted);
  ae__session_clear(&e->session);
  return exit;
}

int ae__events_run(const ae__args *args) {
  events e = {0};
  ae_error err = {0};
  ae_str of = ae_str_of(args->rest[0]);
  e.is_actor = memchr(of.ptr, '/', of.len) != NULL;
  e.type = ae__args_get(args, "type");
  e.follow = ae__args_get(args, "follow") != NULL;
  e.text = ae__terminal(stdout) && !ae__args_json(args);
  e.ref.ns = of;
  ae_status status = e.is_actor ? ae_ref_parse(of, &e.ref, &err)
                                : ae_namespace_check(of, &err);
  if (status == AE_OK)
    status = read_after(&e, ae__args_get(args, "after"), &err);
  if (status != AE_OK) return ae__complain(args, &err);
  int exit = ae__session_ask(&e.session, args, AE__READ_EVENTS);
  if (exit != 0) return exit;
  if (e.session.client) return ask_node(&e);
  ae__interrupt_listen(&e.interrupt, &e.session.loop.uv, on_interrupt, &e);
  e.watching = true;
  e.stats = (ae_stats_read){.ns = e.ref.ns, .cb = on_stats, .data = &e};
  if (ae_store_stats(ae_node_store(e.session.node), &e.stats, &err) != AE_OK) {
    fail(&e, &err);
    end(&e);
  }
  ae__session_run(&e.session);
  ae_buf_clear(&e.out);
  ae__session_clear(&e.session);
  return e.exit;
}
