/* A namespace's stream: found or made, and watched.
 *
 *            open                  found           consumer made
 *   CLOSED ───────► ASKING ───────────────► STARTING ─────────► OPEN
 *     ▲              │ │ none: made, asked       │                │ reconnected
 *     │              │ └──► ABSENT (readers)     │                ▼
 *     │◄── failed ───┘                           │             ASKING, the
 *     └── LEAVING ◄── another stream, failed ────┴──────────── consumer anew
 *
 *   transition               function
 *   CLOSED → ASKING          ae__js_space_open
 *   ASKING → STARTING        adopt
 *   STARTING → OPEN          opened (jetstream_follow.c)
 *   … → LEAVING → CLOSED     ae__js_space_leave, left
 *   OPEN → ASKING            ae__js_space_check */
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pack.h"
#include "namespace/encode.h"
#include "store/backend/jetstream.h"

enum {
  ASK_MS = 5000,
  /* … of a server that says it has no JetStream. Only as a leaf of another that
   * has, it passes the question on. */
  BARE_MS = 1000,
  TRIES = 3,
  NOT_THERE = 10059,
  NAME_IN_USE = 10058,
  SUBJECTS_IN_USE = 10065, /* likewise, in the moment in which it is made */
  /* Rivals write within moments; the server remembers each id for so long. */
  DUPLICATES_S = 20,
  SILENCE_MS = 10000, /* between two words of silence in the log */
  DIFFERS_MS = 10000, /* between two fetchings of a copy that differs */
};

#define NONE "none" /* created: there was no stream */

/* -- talking to JetStream -- */

ae_status ae__js_ask(ae__js *js, ae_wire_request *request, const char *what,
                     const char *json, ae_error *err) {
  char subject[512];
  snprintf(subject, sizeof subject, "$JS.API.%s", what);
  if (ae__js_bare(js)) request->timeout_ms = BARE_MS;
  return ae_wire_ask(js->wire, request, subject, NULL, ae_str_of(json), err);
}

bool ae__js_bare(const ae__js *js) {
  ae_wire_info info;
  ae_wire_info_get(js->wire, &info);
  return info.bare;
}

static bool field(const ae__js_answer *answer, const char *key,
                  const char *below, ae_str *out) {
  ae_str all = ae_buf_view(&answer->body);
  return all.len > 0 && ae_unpack_field(all, key, out) &&
         (!below || ae_unpack_field(*out, below, out));
}

bool ae__js_answer_uint(const ae__js_answer *answer, const char *key,
                        const char *below, uint64_t *out) {
  ae_str value;
  if (!field(answer, key, below, &value)) return false;
  ae_unpack cursor = ae_unpack_of(value);
  return ae_unpack_uint(&cursor, out);
}

bool ae__js_answer_text(const ae__js_answer *answer, const char *key,
                        const char *below, char *out, size_t size) {
  ae_str value, text;
  if (!field(answer, key, below, &value)) return false;
  ae_unpack cursor = ae_unpack_of(value);
  if (!ae_unpack_str(&cursor, &text)) return false;
  snprintf(out, size, "%.*s", AE_FMT(text));
  return true;
}

void ae__js_answer_read(ae__js_answer *out, const ae_wire_message *answer) {
  uint64_t code = 0;
  *out = (ae__js_answer){0};
  if (ae_json_read(answer->body, &out->body, NULL) != AE_OK) {
    out->code = 1;
    snprintf(out->text, sizeof out->text, "an answer that is no JSON");
    return;
  }
  if (!ae__js_answer_text(out, "error", "description", out->text,
                          sizeof out->text))
    return;
  if (!ae__js_answer_uint(out, "error", "err_code", &code) || code == 0)
    ae__js_answer_uint(out, "error", "code", &code);
  out->code = code ? (unsigned)code : 1;
}

void ae__js_answer_clear(ae__js_answer *answer) {
  ae_buf_clear(&answer->body);
}

ae_status ae__js_silence(const ae__js *js, ae_error *err) {
  ae_wire_info info;
  ae_wire_info_get(js->wire, &info);
  if (info.bare)
    ae_error_set(err, AE_STORE_UNAVAILABLE,
                 "JetStream is not enabled in nats-server at %s: start it with "
                 "-js, or with `jetstream {}` in its settings",
                 info.server);
  else
    ae_error_set(err, AE_STORE_UNAVAILABLE,
                 "JetStream does not answer: is it enabled (nats-server -js), "
                 "and has the stream a leader?");
  ae_error_cstr(err, "cause", "no answer");
  return AE_STORE_UNAVAILABLE;
}

/* Said once for each time of silence, which may be long, and of many; and not
 * of each of many answers that are lost one by one. */
void ae__js_heard(ae__js_space *space, ae_status status) {
  ae__js *js = space->js;
  bool silent = status == AE_STORE_UNCERTAIN;
  if (silent == js->silent || (!silent && status != AE_OK)) return;
  ae_wire_info info;
  uint64_t now = uv_now(&js->store.loop->uv);
  ae_wire_info_get(js->wire, &info);
  if (silent && !info.connected) return; /* that has been said */
  if (silent && js->silenced && now - js->silenced < SILENCE_MS) return;
  js->silent = silent;
  js->silenced = now;
  if (silent)
    ae_log(AE_LOG_WARN, "JetStream does not answer; asked again until it does",
           "server", info.server, "stream", space->stream, NULL);
  else
    ae_log(AE_LOG_INFO, "JetStream answers again", "server", info.server,
           "stream", space->stream, NULL);
}

/* -- what it refuses -- */

static const char account[] =
    "the account has no more of JetStream: raise its limits (`jetstream { "
    "max_file: … }` in its settings; `nats account info` shows them), or "
    "delete streams that nobody needs";
static const char server[] =
    "the files of nats-server's JetStream are as large as they may be: raise "
    "max_file_store in its settings (`nats server report jetstream` shows what "
    "is used), or delete streams that nobody needs";
static const char streams[] =
    "there may be no more streams: raise max_streams of the account, or delete "
    "streams that nobody needs";
static const char consumers[] =
    "each node that follows needs a consumer: raise max_consumers";
static const char sizes[] =
    "the account demands a max_bytes of each stream, and a log of events can "
    "have none: set max_bytes_required of the account to false";
static const char disk[] = "the disk of nats-server is full: make room there";
static const char limit[] =
    "it has a limit, which logs of events should not have: `nats stream edit "
    "--max-bytes=-1 --max-msgs=-1` removes it";

/* Codes of nats-server's server/errors.json. */
static const struct refusal {
  unsigned code;
  ae_status status;
  const char *advice; /* NULL: what the server says is all */
} refusals[] = {
    {10002, AE_STORE_FULL, account},
    {10023, AE_STORE_FULL, server},
    {10026, AE_STORE_UNAVAILABLE, consumers},
    {10027, AE_STORE_FULL, streams},
    {10028, AE_STORE_FULL, server}, /* memory */
    {10047, AE_STORE_FULL, server}, /* … that is promised to others */
    {10054, AE_TOO_LARGE, NULL},
    {10113, AE_STORE_UNAVAILABLE, sizes},
};

enum { NOT_STORED = 10077 }; /* for a reason that only its text tells */

static struct refusal refusal_of(const ae__js_answer *answer) {
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
    if (refusals[i].code == answer->code) return refusals[i];
  if (answer->code == NOT_STORED && strstr(answer->text, "maximum"))
    return (struct refusal){NOT_STORED, AE_STORE_FULL, limit};
  if (answer->code == NOT_STORED && strstr(answer->text, "no space"))
    return (struct refusal){NOT_STORED, AE_STORE_FULL, disk};
  return (struct refusal){answer->code, AE_STORE_UNAVAILABLE, NULL};
}

ae_status ae__js_refusal(const ae__js_answer *answer, const char *doing,
                         const char *stream, ae_error *err) {
  struct refusal why = refusal_of(answer);
  ae_error_set(err, why.status, "JetStream refused to %s the stream %s: %s%s%s",
               doing, stream, answer->text, why.advice ? "; " : "",
               why.advice ? why.advice : "");
  ae_error_cstr(err, "cause", answer->text);
  return why.status;
}

/* -- the table -- */

ae__js_space *ae__js_space_get(ae__js *js, ae_str name) {
  ae__js_space *space = ae_map_get(&js->spaces, name);
  if (space) return space;
  space = ae_zalloc(sizeof *space + name.len);
  space->js = js;
  space->name_len = name.len;
  memcpy(space->name, name.ptr, name.len);
  ae_list_init(&space->waiting);
  ae_list_init(&space->behind);
  ae_buf token = {0};
  ae_encode(name, &token);
  snprintf(space->stream, sizeof space->stream, "%s_events",
           ae_buf_cstr(&token));
  ae_buf_clear(&token);
  ae_map_put(&js->spaces, ae__js_name(space), space);
  return space;
}

void ae__js_space_free(ae__js_space *space) {
  ae_free(space->file);
  ae__js_follow_clear(space);
  ae_free(space);
}

/* -- leaving -- */

static void fail_all(ae__js_space *space, ae_status status,
                     const ae_error *err) {
  ae__js_ops_fail(&space->waiting, status, err);
  ae__js_ops_fail(&space->behind, status, err);
  ae__js_heads_fail(space, status, err);
}

/* Sent, and not answered: by a stream that was deleted it never is. */
static bool has_flights(const ae__js_space *space) {
  const ae__js_head *head;
  for (size_t at = 0; (head = ae_map_next(&space->js->heads, &at));)
    if (head->space == space && head->flight) return true;
  return false;
}

static void left(void *data) {
  ae__js_space *space = data;
  ae__js *js = space->js;
  space->phase = AE__JS_CLOSED;
  js->leaving--;
  /* Who came meanwhile; and a copy that was lost is there again soon. */
  if (!js->closing &&
      (!ae_list_empty(&space->waiting) || space->discard || has_flights(space)))
    ae__js_space_open(space);
  if (!js->closing) ae__js_heads_pump(space);
  ae__js_close_look(js);
}

void ae__js_space_leave(ae__js_space *space, ae_status status,
                        const ae_error *err) {
  ae__js *js = space->js;
  if (space->phase == AE__JS_LEAVING) return;
  ae__js_pull_stop(&space->pull);
  ae__js_import_stop(space);
  fail_all(space, status, err);
  if (!space->inner) {
    space->phase = AE__JS_CLOSED;
    return;
  }
  ae_store *inner = space->inner;
  space->phase = AE__JS_LEAVING;
  space->inner = NULL;
  js->leaving++;
  ae_store_close(inner, left, space);
}

/* A follower that is of no use any more; who waits goes on with the next. */
static void renew(ae__js_space *space) {
  ae_store *inner = space->inner;
  space->phase = AE__JS_LEAVING;
  space->inner = NULL;
  space->js->leaving++;
  ae_store_close(inner, left, space);
}

bool ae__js_space_lost(ae__js_space *space, const ae_error *why) {
  uint64_t now = uv_now(&space->js->store.loop->uv);
  if (space->phase != AE__JS_OPEN && space->phase != AE__JS_FILLING)
    return false;
  if (space->differed && now - space->differed < DIFFERS_MS) return false;
  ae_log(AE_LOG_ERROR, "the local copy is of no use any more; fetched anew",
         "file", space->file, "cause", ae_error_text(why), NULL);
  space->differed = now;
  space->discard = true;
  ae__js_pull_stop(&space->pull);
  ae__js_import_stop(space);
  ae_list *link;
  while ((link = ae_list_shift(&space->behind)))
    ae_list_push(&space->waiting, link);
  renew(space);
  return true;
}

/* -- opening -- */

static void ask_info(ae__js_space *space);

static void open_failed(ae__js_space *space, ae_status status,
                        const ae_error *err) {
  if (space->inner) { /* it was open before: later again */
    space->phase = AE__JS_OPEN;
    space->again = true;
    return;
  }
  ae__js_space_leave(space, status, err);
}

static ae_status check_stream(ae__js_space *space, const ae__js_answer *info,
                              ae_error *err) {
  char storage[16] = "";
  ae__js_answer_text(info, "config", "storage", storage, sizeof storage);
  if (strcmp(storage, "file") == 0) return AE_OK;
  ae_error_set(err, AE_STORE_UNAVAILABLE,
               "the stream %s keeps its messages in \"%s\"; Aether needs "
               "\"file\": what is in memory is gone with the server, and gets "
               "slower the longer it is",
               space->stream, storage);
  ae_error_cstr(err, "cause", "storage");
  return AE_STORE_UNAVAILABLE;
}

static void another_stream(ae__js_space *space, const char *what) {
  ae_error err = {0};
  ae_error_set(&err, AE_STORE_UNAVAILABLE,
               "the stream %s %s; what this node has of it is fetched anew",
               space->stream, what);
  ae_error_cstr(&err, "cause", what);
  ae_log(AE_LOG_WARN, "a stream is not the one that was followed", "stream",
         space->stream, "cause", what, NULL);
  ae__js_space_leave(space, AE_STORE_UNAVAILABLE, &err);
  ae_error_clear(&err);
}

ae_status ae__js_space_differs(ae__js_space *space, const ae_ref *ref,
                               uint64_t there, uint64_t here, ae_error *err) {
  uint64_t now = uv_now(&space->js->store.loop->uv);
  ae_error_set(
      err, AE_STORE_UNAVAILABLE,
      "what this node has of the stream %s differs from what its "
      "leader has: the last commit of %.*s/%.*s is message %llu there, "
      "and %llu here; a replica is out of step",
      space->stream, AE_FMT(ref->type), AE_FMT(ref->id),
      (unsigned long long)there, (unsigned long long)here);
  ae_error_cstr(err, "cause", "the local copy differs");
  if (space->phase == AE__JS_LEAVING ||
      (space->differed && now - space->differed < DIFFERS_MS))
    return AE_STORE_UNAVAILABLE;
  ae_log(AE_LOG_ERROR, "the local copy differs from its stream; fetched anew",
         "stream", space->stream, "cause", ae_error_text(err), NULL);
  space->differed = now;
  space->discard = true;
  ae__js_space_leave(space, AE_STORE_UNAVAILABLE, err);
  return AE_STORE_UNAVAILABLE;
}

/* The stream is there: follow it, or go on following it. */
static void adopt(ae__js_space *space, const ae__js_answer *info) {
  ae_error err = {0};
  char created[sizeof space->created] = "";
  uint64_t last = 0;
  ae__js_answer_text(info, "created", NULL, created, sizeof created);
  ae__js_answer_uint(info, "state", "last_seq", &last);
  if (space->inner && space->phase == AE__JS_ASKING) {
    if (strcmp(space->created, NONE) == 0) { /* now there is one */
      renew(space);
      return;
    }
    if (strcmp(created, space->created) != 0) {
      another_stream(space, "was deleted and made again");
      return;
    }
    if (last < space->followed) {
      another_stream(space, "is shorter than it was");
      return;
    }
    space->phase = AE__JS_STARTING;
    space->until = last;
    ae__js_follow_start(space);
    return;
  }
  memcpy(space->created, created, sizeof created);
  ae_status status = check_stream(space, info, &err);
  if (status == AE_OK) status = ae__js_follow_open(space, last, &err);
  if (status == AE_OK) {
    space->phase = AE__JS_STARTING;
    ae__js_follow_start(space);
  } else {
    open_failed(space, status, &err);
  }
  ae_error_clear(&err);
}

/* Readers of a namespace that was never written to. */
static void absent(ae__js_space *space) {
  ae_error err = {0};
  snprintf(space->created, sizeof space->created, NONE);
  ae_status status = AE_OK;
  if (!space->inner) status = ae__js_follow_open(space, 0, &err);
  if (status == AE_OK) {
    ae__js_follow_opened(space);
    space->phase = AE__JS_ABSENT;
  } else {
    open_failed(space, status, &err);
  }
  ae_error_clear(&err);
}

static void make_stream(ae__js_space *space);

static void on_info(ae_wire_request *request, ae_status status,
                    const ae_wire_message *message) {
  ae__js_space *space = request->data;
  ae__js_answer answer = {0};
  ae_error err = {0};
  ae__js_heard(space, status);
  if (status == AE_CANCELED || space->js->closing) {
    ae__js_space_leave(space, AE_CANCELED, NULL);
    return;
  }
  if (status == AE_OK) ae__js_answer_read(&answer, message);
  if (status == AE_OK && answer.code == 0) {
    adopt(space, &answer);
  } else if (status == AE_OK && answer.code == NOT_THERE && space->inner &&
             strcmp(space->created, NONE) != 0) {
    another_stream(space, "was deleted");
  } else if (status == AE_OK && answer.code == NOT_THERE &&
             space->js->store.mode == AE_STORE_READ) {
    absent(space);
  } else if (status == AE_OK && answer.code == NOT_THERE) {
    make_stream(space);
  } else if (status == AE_OK &&
             (answer.code == NAME_IN_USE || answer.code == SUBJECTS_IN_USE) &&
             ++space->tries < TRIES) {
    ask_info(space); /* somebody made it meanwhile */
  } else if (status != AE_OK && ++space->tries < TRIES &&
             !ae__js_bare(space->js)) {
    ask_info(space);
  } else {
    status = status == AE_OK
                 ? ae__js_refusal(&answer, "find", space->stream, &err)
                 : ae__js_silence(space->js, &err);
    open_failed(space, status, &err);
  }
  ae_error_clear(&err);
  ae__js_answer_clear(&answer);
}

static void request(ae__js_space *space, const char *what, const char *json) {
  ae_error err = {0};
  space->request.cb = on_info;
  space->request.data = space;
  space->request.timeout_ms = ASK_MS;
  char name[sizeof space->stream + 32];
  snprintf(name, sizeof name, "%s.%s", what, space->stream);
  ae_status status = ae__js_ask(space->js, &space->request, name, json, &err);
  if (status != AE_OK) open_failed(space, status, &err);
  ae_error_clear(&err);
}

static void ask_info(ae__js_space *space) {
  request(space, "STREAM.INFO", "");
}

/* Never an age or a size at which the server deletes: an actor whose last
 * message is gone can never be appended to again. */
static void make_stream(ae__js_space *space) {
  ae_buf json = {0};
  ae_ref any = {.ns = ae__js_name(space)};
  ae_buf_printf(&json, "{\"name\":\"%s\",\"subjects\":[\"", space->stream);
  ae__js_subject(&json, "log", &any);
  ae_buf_printf(&json,
                "\"],\"storage\":\"file\",\"retention\":\"limits\","
                "\"discard\":\"new\",\"num_replicas\":%u,\"max_age\":0,"
                "\"max_bytes\":-1,\"max_msgs\":-1,\"max_consumers\":-1,"
                "\"max_msg_size\":-1,\"max_msgs_per_subject\":-1,"
                "\"duplicate_window\":%u000000000,"
                "\"description\":\"Aether: the commits of a namespace\"}",
                space->js->replicas, DUPLICATES_S);
  request(space, "STREAM.CREATE", ae_buf_cstr(&json));
  ae_buf_clear(&json);
}

void ae__js_space_open(ae__js_space *space) {
  if (space->phase == AE__JS_ABSENT) {
    /* Has somebody written meanwhile? The empty follower is closed then. */
    ae__js_space_check(space);
    return;
  }
  if (space->phase != AE__JS_CLOSED) return;
  space->phase = AE__JS_ASKING;
  space->tries = 0;
  ask_info(space);
}

void ae__js_space_check(ae__js_space *space) {
  if (space->phase != AE__JS_OPEN && space->phase != AE__JS_ABSENT) {
    space->again = true;
    return;
  }
  space->phase = AE__JS_ASKING;
  space->tries = 0;
  space->again = false;
  ask_info(space);
}
