/* Stored events of an actor or a namespace, and what happens now:
 *
 *   GET /v1/{ns}/{type}/{id}/events   ?after=VERSION
 *   GET /v1/{ns}/events               ?after=POSITION.INDEX
 *   GET /v1/events                    ?pattern=  (listen.h) */
#include "base/mem.h"
#include "door/http/feed.h"
#include "door/http/listen.h"
#include "namespace/name.h"

static const char *const known[] = {"after", "types", "limit", "follow", NULL};

/* What both have in common. */
static ae_status read_options(const ae__exchange *x, ae__feed_options *options,
                              ae_error *err) {
  options->ref.ns = ae__exchange_segment(x, "ns");
  options->sse = ae__want_sse(x);
  ae_str types = ae__exchange_query(x, "types");
  ae_status status = ae__want_check(x, known, err);
  if (status == AE_OK)
    status = ae__want_uint(x, "limit", 1, UINT64_MAX - 1, UINT64_MAX,
                           &options->limit, err);
  /* An EventSource comes back when the answer ends: it wants to follow. */
  if (status == AE_OK)
    status = ae__want_bool(x, "follow", options->sse, &options->follow, err);
  if (status == AE_OK && types.ptr)
    status = ae__want_list(types, "types", &options->types,
                           &options->type_count, err);
  return status;
}

static ae_status read_version(const ae__exchange *x, uint64_t *version,
                              ae_error *err) {
  ae_str last = ae__exchange_header(x, "last-event-id");
  if (!last.ptr)
    return ae__want_uint(x, "after", 0, UINT64_MAX - 1, 0, version, err);
  if (ae_str_uint(last, version) && *version < UINT64_MAX) return AE_OK;
  ae_error_set(err, AE_MALFORMED, "`Last-Event-ID` must be a version, not ");
  ae_error_quote(err, last);
  ae_error_cstr(err, "at", "Last-Event-ID");
  return AE_MALFORMED;
}

static ae_status read_cursor(const ae__exchange *x, ae__cursor_at *at,
                             ae_error *err) {
  ae_str last = ae__exchange_header(x, "last-event-id");
  ae_str after = ae__exchange_query(x, "after");
  *at = (ae__cursor_at){0, UINT64_MAX};
  if (last.ptr) return ae__want_cursor(last, "Last-Event-ID", at, err);
  return after.ptr ? ae__want_cursor(after, "after", at, err) : AE_OK;
}

static void start(ae__exchange *x, ae_status status, ae__feed_options *options,
                  ae_error *err) {
  if (status == AE_OK) {
    ae__feed_start(x, options);
  } else {
    ae_free(options->types);
    ae__exchange_fail(x, err);
  }
  ae_error_clear(err);
}

static void start_actor(ae__exchange *x) {
  ae_error err = {0};
  ae__feed_options options = {.of_actor = true, .after = {0, UINT64_MAX}};
  ae_status status = read_options(x, &options, &err);
  options.ref.type = ae__exchange_segment(x, "type");
  options.ref.id = ae__exchange_segment(x, "id");
  if (status == AE_OK) status = ae_type_check(options.ref.type, &err);
  if (status == AE_OK) status = ae_id_check(options.ref.id, &err);
  if (status == AE_OK) status = read_version(x, &options.after_version, &err);
  start(x, status, &options, &err);
}

static void start_namespace(ae__exchange *x) {
  ae_error err = {0};
  ae__feed_options options = {0};
  ae_status status = read_options(x, &options, &err);
  if (status == AE_OK) status = read_cursor(x, &options.after, &err);
  start(x, status, &options, &err);
}

const ae__route ae__routes_events[] = {{.method = AE__METHOD_GET,
                                        .path = "/v1/{ns}/{type}/{id}/events",
                                        .name = "actor_events",
                                        .right = AE_RIGHT_READ,
                                        .start = start_actor,
                                        .drained = ae__feed_drained,
                                        .gone = ae__feed_gone},
                                       {.method = AE__METHOD_GET,
                                        .path = "/v1/{ns}/events",
                                        .name = "events",
                                        .right = AE_RIGHT_READ,
                                        .start = start_namespace,
                                        .drained = ae__feed_drained,
                                        .gone = ae__feed_gone},
                                       {.method = AE__METHOD_GET,
                                        .path = "/v1/events",
                                        .name = "listen",
                                        .right = AE_RIGHT_LISTEN,
                                        .start = ae__listen_start,
                                        .drained = ae__listen_drained,
                                        .gone = ae__listen_gone},
                                       {0}};
