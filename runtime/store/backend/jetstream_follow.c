/* The follower: one ordered consumer of the stream into a file of SQLite.
 *
 * The consumer is the server's, and not stored; it counts what it sends. A
 * count that is missing, or a silence longer than its heartbeat, and another
 * one is started behind what was taken in. The server waits when so many
 * messages are not acknowledged, and they are acknowledged once SQLite has kept
 * up: so neither grows without bound. (Flow control alone is not enough: it
 * counts bodies, and the server closes a connection that it owes 64 MB in all.
 * Nothing is ever sent twice: max_deliver is 1.)
 *
 * 1. taken: what was handed to SQLite. followed ≤ taken: what is in it.
 * 2. A file belongs to one creation of the stream: its name says which. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pack.h"
#include "namespace/encode.h"
#include "store/backend/jetstream.h"

enum {
  ASK_MS = 5000,
  HEARTBEAT_S = 2,
  SILENCE_MS = 5000, /* two heartbeats and a little */
  AHEAD_MAX = 16384, /* commits handed to SQLite before the server waits */
  /* Messages the server sends before it waits: with commits of 40 KB, as of an
   * actor with hundreds of writers, two thirds of the 64 MB. */
  UNACKNOWLEDGED = 1024,
  ACK_EVERY = 128,
};

/* -- taking in -- */

typedef struct taken {
  ae_append append; /* first */
  ae__js_space *space;
  ae__key key;
} taken;

static void say(ae__js_space *space, const char *subject) {
  ae_wire_publish(space->js->wire, subject, NULL, NULL, (ae_str){"", 0}, NULL);
}

/* Acknowledges all messages so far, so that the server sends more. */
static void acknowledge(ae__js_space *space) {
  if (space->acknowledged == space->consumed) return;
  space->acknowledged = space->consumed;
  say(space, space->reply);
}

static void let_on(ae__js_space *space) {
  if (space->behindhand > AHEAD_MAX) return;
  if (!space->corked || space->consumed - space->acknowledged >= ACK_EVERY)
    acknowledge(space);
  if (!space->flow) return;
  say(space, space->flow);
  ae_free(space->flow);
  space->flow = NULL;
}

/* What cannot be written down stays to be fetched: the consumer starts anew
 * behind what is there, or, where it is not for want of room, with another
 * file. */
static void not_taken(ae__js_space *space, const ae_append *append) {
  if (space->js->closing || append->status == AE_CANCELED) return;
  if (append->status != AE_STORE_FULL && append->status != AE_TOO_LARGE &&
      ae__js_space_lost(space, &append->error))
    return;
  if (space->taken != space->followed)
    ae_log(AE_LOG_ERROR, "what was stored cannot be written down here", "file",
           space->file, "cause", ae_error_text(&append->error), NULL);
  space->taken = space->followed;
  ae__js_ops_fail(&space->behind, append->status, &append->error);
  ae__js_follow_stop(space);
  space->heard = 0; /* the next tick starts it */
}

static void on_taken(ae_append *append) {
  taken *one = (taken *)append;
  ae__js_space *space = one->space;
  space->behindhand--;
  bool mine = space->inner != NULL;
  if (append->status != AE_OK) {
    if (mine) not_taken(space, append);
  } else if (mine && append->follows > space->followed) {
    space->followed = append->follows;
    ae__js_ops_wake(space);
    let_on(space);
    if (space->phase == AE__JS_FILLING && !space->import &&
        space->followed >= space->until)
      ae__js_import_start(space);
  }
  ae_buf_clear(&append->record);
  ae_free(one);
}

static void uncork(ae_task *task) {
  ae__js_space *space = AE_CONTAINER(task, ae__js_space, uncork);
  ae__js *js = space->js;
  space->corked = false;
  if (space->subscription) let_on(space);
  ae_loop_release(js->store.loop);
  if (space->inner) ae_store_uncork(space->inner);
  js->ops--;
  ae__js_close_look(js);
}

static void cork(ae__js_space *space) {
  if (space->corked) return;
  space->corked = true;
  space->uncork.run = uncork;
  space->js->ops++;
  ae_store_cork(space->inner);
  ae_loop_hold(space->js->store.loop);
  ae_loop_defer(space->js->store.loop, &space->uncork);
}

bool ae__js_key_of(ae__js_space *space, const char *subject, ae__key *key,
                   ae_ref *ref) {
  const char *id = strrchr(subject, '.');
  if (!id) return false;
  const char *type = id;
  while (type > subject && type[-1] != '.') type--;
  ae_buf text = {0};
  if (!ae_decode(ae_str_of(id + 1), &text) || text.len > 255 || id == type) {
    ae_buf_clear(&text);
    return false;
  }
  ae_ref given = {
      ae__js_name(space), {type, (size_t)(id - type)}, ae_buf_view(&text)};
  bool fits = given.type.len <= 64 && given.id.len >= 1 && given.id.len <= 255;
  if (fits) {
    ae__key_of(key, &given);
    *ref = ae__key_ref((ae_str){key->bytes, key->len});
  }
  ae_buf_clear(&text);
  return fits;
}

/* "FIRST EVENTS IDS": three numbers of a commit. */
static bool facts_of(const char *text, uint64_t *first, ae_append *append) {
  uint64_t numbers[3] = {0};
  for (int i = 0; i < 3; i++) {
    char *end;
    if (*text < '0' || *text > '9') return false;
    numbers[i] = strtoull(text, &end, 10);
    if (*end != (i < 2 ? ' ' : 0)) return false;
    text = end + 1;
  }
  if (numbers[0] == 0 || numbers[1] > UINT32_MAX || numbers[2] > UINT32_MAX)
    return false;
  *first = numbers[0];
  append->event_count = (uint32_t)numbers[1];
  append->id_count = (uint32_t)numbers[2];
  return true;
}

static void take(ae__js_space *space, const ae_wire_message *message,
                 uint64_t sequence) {
  taken *one = ae_zalloc(sizeof *one);
  ae_append *append = &one->append;
  const char *facts = ae_wire_message_header(message, "Aether-Commit");
  uint64_t first = 0;
  if (!facts || !facts_of(facts, &first, append) || message->body.len == 0 ||
      !ae__js_key_of(space, message->subject, &one->key, &append->ref)) {
    ae_log(AE_LOG_ERROR, "a message in the stream is no commit; left out",
           "stream", space->stream, "subject", message->subject, NULL);
    ae_free(one);
    return;
  }
  one->space = space;
  append->expected_version = first - 1;
  append->follows = sequence;
  append->cb = on_taken;
  ae_buf_str(&append->record, message->body);
  cork(space);
  space->behindhand++;
  ae_error err = {0};
  ae_status status = ae_store_append(space->inner, append, &err);
  if (status != AE_OK) { /* too large for SQLite, or closing */
    append->status = status;
    ae_error_move(&append->error, &err);
    on_taken(append);
  }
  ae_error_clear(&err);
}

/* The sequences in "$JS.ACK.(DOMAIN.ACCOUNT.)STREAM.CONSUMER.…": of the stream
 * and of the consumer. */
static bool sequences_of(const char *reply, uint64_t *stream,
                         uint64_t *consumer) {
  const char *tokens[16];
  int count = 0;
  for (const char *at = reply; at && count < 16; at = strchr(at, '.')) {
    if (*at == '.') at++;
    tokens[count++] = at;
  }
  int at = count == 9 ? 5 : count >= 11 ? 7 : -1;
  if (at < 0) return false;
  *stream = strtoull(tokens[at], NULL, 10);
  *consumer = strtoull(tokens[at + 1], NULL, 10);
  return *stream > 0 && *consumer > 0;
}

/* What was missed comes again, with another consumer. */
static void restart(ae__js_space *space) {
  if (space->phase != AE__JS_OPEN && space->phase != AE__JS_FILLING) return;
  ae__js_import_stop(space);
  space->phase = AE__JS_STARTING;
  ae__js_follow_start(space);
}

static void on_control(ae__js_space *space, const ae_wire_message *message) {
  const char *reply = message->reply;
  if (!reply) reply = ae_wire_message_header(message, "Nats-Consumer-Stalled");
  if (reply) {
    ae_free(space->flow);
    space->flow = ae_strdup(reply);
    let_on(space);
  }
  const char *last = ae_wire_message_header(message, "Nats-Last-Consumer");
  if (last && strtoull(last, NULL, 10) != space->consumed) restart(space);
}

static void on_message(void *data, const ae_wire_message *message) {
  ae__js_space *space = data;
  space->heard = uv_now(&space->js->store.loop->uv);
  if (message->body.len == 0) {
    on_control(space, message);
    return;
  }
  uint64_t sequence, consumed;
  if (!message->reply || !space->inner ||
      !sequences_of(message->reply, &sequence, &consumed))
    return;
  if (consumed != space->consumed + 1) {
    restart(space);
    return;
  }
  space->consumed = consumed;
  snprintf(space->reply, sizeof space->reply, "%s", message->reply);
  if (sequence <= space->taken) return;
  space->taken = sequence;
  if (AE_FAULT("jetstream.message")) return;
  take(space, message, sequence);
  if (consumed - space->acknowledged >= ACK_EVERY) let_on(space);
}

/* -- the consumer -- */

void ae__js_follow_stop(ae__js_space *space) {
  if (!space->subscription) return;
  ae_wire_unsubscribe(space->subscription);
  space->subscription = NULL;
  ae_free(space->flow);
  space->flow = NULL;
}

void ae__js_follow_opened(ae__js_space *space) {
  space->phase = AE__JS_OPEN;
  space->new = false;
  ae_list ready;
  ae_list_init(&ready);
  ae_list *link;
  while ((link = ae_list_shift(&space->waiting))) ae_list_push(&ready, link);
  while ((link = ae_list_shift(&ready)))
    ae__js_op_go(AE_CONTAINER(link, ae__js_op, link));
  ae__js_heads_pump(space);
}

/* Nothing is answered from a new file before it holds what there is. */
static void fill(ae__js_space *space) {
  if (!space->new) {
    ae__js_follow_opened(space);
    return;
  }
  space->phase = AE__JS_FILLING;
  if (space->followed >= space->until) ae__js_import_start(space);
}

static void on_consumer(ae_wire_request *request, ae_status status,
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
    space->heard = uv_now(&space->js->store.loop->uv);
    if (space->unfollowed)
      ae_log(AE_LOG_INFO, "a stream is followed again", "stream", space->stream,
             NULL);
    space->unfollowed = false;
    if (space->phase == AE__JS_STARTING) fill(space);
    if (space->again) ae__js_space_check(space);
  } else if (space->phase == AE__JS_STARTING && !space->taken) {
    status = status == AE_OK
                 ? ae__js_refusal(&answer, "follow", space->stream, &err)
                 : ae__js_silence(&err);
    ae__js_space_leave(space, status, &err);
  } else {
    if (status == AE_OK && !space->unfollowed)
      ae_log(AE_LOG_WARN, "a stream cannot be followed; tried until it can",
             "stream", space->stream, "cause", answer.text, NULL);
    space->unfollowed = status == AE_OK;
    space->phase = space->new ? AE__JS_FILLING : AE__JS_OPEN;
    ae__js_follow_stop(space);
    space->heard = 0;
  }
  ae_error_clear(&err);
  ae__js_answer_clear(&answer);
}

ae_status ae__js_consume(ae__js *js, const char *stream, uint64_t from,
                         ae_buf *inbox, ae_wire_cb cb, void *data,
                         ae_wire_subscription **out, ae_wire_request *request,
                         ae_error *err) {
  ae_buf json = {0};
  ae_buf_reset(inbox);
  ae_wire_inbox(js->wire, inbox);
  ae_status status =
      ae_wire_subscribe(js->wire, ae_buf_cstr(inbox), NULL, cb, data, out, err);
  if (status != AE_OK) return status;
  ae_buf_printf(&json,
                "{\"stream_name\":\"%s\",\"config\":{\"deliver_subject\":"
                "\"%s\",\"deliver_policy\":\"by_start_sequence\","
                "\"opt_start_seq\":%llu,\"ack_policy\":\"all\","
                "\"ack_wait\":3600000000000,\"max_ack_pending\":%d,"
                "\"max_deliver\":1,\"flow_control\":true,"
                "\"idle_heartbeat\":%d000000000,\"mem_storage\":true,"
                "\"num_replicas\":1,\"replay_policy\":\"instant\"}}",
                stream, ae_buf_cstr(inbox), (unsigned long long)from,
                UNACKNOWLEDGED, HEARTBEAT_S);
  ae_buf what = {0};
  ae_buf_printf(&what, "CONSUMER.CREATE.%s", stream);
  request->timeout_ms = ASK_MS;
  status = ae__js_ask(js, request, ae_buf_cstr(&what), ae_buf_cstr(&json), err);
  ae_buf_clear(&what);
  ae_buf_clear(&json);
  if (status == AE_OK) return AE_OK;
  ae_wire_unsubscribe(*out);
  *out = NULL;
  return status;
}

void ae__js_follow_start(ae__js_space *space) {
  ae__js *js = space->js;
  ae__js_follow_stop(space);
  if (js->closing) return;
  space->consumed = space->acknowledged = 0;
  space->request.cb = on_consumer;
  space->request.data = space;
  space->heard = uv_now(&js->store.loop->uv);
  ae_status status = ae__js_consume(
      js, space->stream, space->taken + 1, &space->inbox, on_message, space,
      &space->subscription, &space->request, NULL);
  if (status == AE_OK) return;
  space->heard = 0; /* no connection: the next tick, or when it is back */
  if (space->phase == AE__JS_STARTING) fill(space);
}

/* What reading has met; false: nothing, or it stays as it is. */
static bool leave_damaged(ae__js_space *space) {
  ae__damage damage = ae__sqlite_damage(space->inner);
  bool record = damage == AE__DAMAGE_RECORD;
  if (damage == AE__DAMAGE_NONE || (record && space->doubted)) return false;
  ae_error err = {0};
  ae_error_set(&err, AE_STORE_UNAVAILABLE, "%s",
               record ? "a record in it is damaged" : "the file is damaged");
  bool left = ae__js_space_lost(space, &err);
  if (left && record) space->doubted = true;
  ae_error_clear(&err);
  return left;
}

void ae__js_follow_tick(ae__js_space *space, uint64_t now) {
  if (space->phase != AE__JS_OPEN && space->phase != AE__JS_FILLING) return;
  if (space->inner && leave_damaged(space)) return;
  if (space->again && space->phase == AE__JS_OPEN) {
    ae__js_space_check(space);
    return;
  }
  if (strcmp(space->created, "none") == 0 || now - space->heard < SILENCE_MS)
    return;
  if (space->subscription)
    ae_log(AE_LOG_WARN, "the stream went silent; asked for anew", "stream",
           space->stream, NULL);
  if (space->phase == AE__JS_OPEN)
    ae__js_space_check(space); /* it may be gone, or another one */
  else
    restart(space);
}

/* -- the file -- */

/* NS.CREATED. */
static void file_prefix(const ae__js_space *space, ae_buf *out) {
  ae_encode(ae__js_name(space), out);
  ae_buf_byte(out, '.');
  ae_encode(ae_str_of(space->created), out);
  ae_buf_byte(out, '.');
}

/* Files of this namespace: one of this stream is named in `keep`, those of
 * streams that are no more are removed. `all`: that one too. */
static void look_through(ae__js_space *space, bool all, ae_buf *keep) {
  DIR *dir = opendir(space->js->folder);
  if (!dir) return;
  ae_buf mine = {0}, prefix = {0};
  ae_encode(ae__js_name(space), &mine);
  ae_buf_byte(&mine, '.');
  file_prefix(space, &prefix);
  for (struct dirent *entry; (entry = readdir(dir));) {
    const char *name = entry->d_name;
    size_t len = strlen(name);
    if (strncmp(name, mine.ptr, mine.len) != 0) continue;
    if (!all && strncmp(name, prefix.ptr, prefix.len) == 0) {
      if (len > 3 && strcmp(name + len - 3, ".db") == 0) {
        ae_buf_reset(keep);
        ae_buf_printf(keep, "%s", name);
      }
      continue;
    }
    ae_buf path = {0};
    ae_buf_printf(&path, "%s/%s", space->js->folder, name);
    unlink(ae_buf_cstr(&path));
    ae_buf_clear(&path);
  }
  closedir(dir);
  ae_buf_clear(&mine);
  ae_buf_clear(&prefix);
}

/* A name of its own each time: SQLite, closing the one before, may still
 * remove what stands beside it. */
static void name_file(ae__js_space *space, const ae_buf *found) {
  ae_buf path = {0};
  ae_buf_printf(&path, "%s/", space->js->folder);
  if (found->len > 0) {
    ae_buf_str(&path, ae_buf_view(found));
  } else {
    file_prefix(space, &path);
    ae_buf_printf(&path, "%llx.db", (unsigned long long)ae_clock_now());
  }
  ae_free(space->file);
  space->file = ae_strdup(ae_buf_cstr(&path));
  ae_buf_clear(&path);
}

static ae_status open_file(ae__js_space *space, ae_error *err) {
  ae_buf url = {0};
  ae_buf_printf(&url, "sqlite:%s", space->file);
  ae_store_options options = {
      .url = ae_buf_cstr(&url), .mode = AE_STORE_WRITE, .cache = true};
  ae_status status =
      ae_store_open(space->js->store.loop, &options, &space->inner, err);
  ae_buf_clear(&url);
  return status;
}

static void dropped(void *data) {
  ae__js *js = data;
  js->leaving--;
  ae__js_close_look(js);
}

/* Another node of this name has it open. */
static bool has_pid(const ae_error *err) {
  ae_unpack cursor = ae_unpack_of(ae_buf_view(&err->facts));
  for (uint32_t i = 0; i < err->nfacts; i++) {
    ae_str key, value;
    if (!ae_unpack_str(&cursor, &key) || !ae_unpack_skip(&cursor, &value))
      return false;
    if (ae_str_eq(key, AE_STR("pid"))) return true;
  }
  return false;
}

ae_status ae__js_follow_open(ae__js_space *space, uint64_t last,
                             ae_error *err) {
  ae__js *js = space->js;
  ae_error why = {0};
  ae_buf found = {0};
  ae_status status = ae__js_folder_hold(js, err);
  if (status != AE_OK) return status;
  look_through(space, space->discard, &found);
  space->discard = false;
  name_file(space, &found);
  status = open_file(space, &why);
  bool ahead = status == AE_OK && ae__sqlite_position(space->inner) > last;
  if (ahead || (status != AE_OK && !has_pid(&why))) {
    ae_log(AE_LOG_WARN,
           ahead ? "the local copy is ahead of its stream; fetched anew"
                 : "the local copy cannot be used; fetched anew",
           "file", space->file, "cause", ae_error_text(&why), NULL);
    if (space->inner) {
      js->leaving++;
      ae_store_close(space->inner, dropped, js);
      space->inner = NULL;
    }
    look_through(space, true, &found);
    ae_buf_reset(&found);
    ae_error_clear(&why);
    name_file(space, &found);
    status = open_file(space, &why);
  }
  if (status == AE_OK) {
    space->taken = space->followed = ae__sqlite_position(space->inner);
    space->new = space->taken == 0;
    space->until = last;
  } else if (err) {
    ae_error_move(err, &why);
  }
  ae_error_clear(&why);
  ae_buf_clear(&found);
  return status;
}
