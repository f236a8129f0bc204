/* The follower: one consumer of the stream into a file of SQLite.
 *
 * The consumer counts what it sends. A count that is missing, or a silence
 * longer than its heartbeat, and another one is started behind what was taken
 * in. It is asked for more (jetstream_pull.c) once SQLite has kept up: so
 * neither what the server owes nor what waits here grows without bound.
 *
 * 1. taken: what was handed to SQLite. followed ≤ taken: what is in it.
 * 2. A file belongs to one creation of the stream: its name says which. */
#include <dirent.h>
#include <stddef.h>
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
  QUIET_MS = 3000,   /* a heartbeat and a little: asked once more */
  SILENCE_MS = 5000, /* two heartbeats and a little */
  AHEAD_MAX = 16384, /* commits handed to SQLite before no more is asked for */
  BLOCK = 1 << 18,
};

/* -- taking in -- */

/* Commits lie in blocks, one behind the other as they came and as SQLite
 * answers them: a heap of so many small pieces costs more than a copy. */
typedef struct ae__js_block {
  uint32_t live; /* commits in it that SQLite has */
  size_t len, cap;
  char bytes[];
} block;

typedef struct taken {
  ae_append append; /* first */
  ae__js_space *space;
  block *block;
  ae__key key; /* last; the record begins where the key ends */
} taken;

/* Not the space's current one. */
static void block_end(ae__js_space *space, block *of) {
  if (of->cap == BLOCK && !space->spare)
    space->spare = of;
  else
    ae_free(of);
}

/* Room for `len` bytes; it is used up once the caller adds to block->len. */
static void *room(ae__js_space *space, size_t len) {
  block *now = space->block;
  if (now && now->cap - now->len >= len) return now->bytes + now->len;
  if (now && now->live == 0) block_end(space, now);
  size_t cap = len > BLOCK ? len : BLOCK;
  block *next = space->spare && cap == BLOCK ? space->spare : NULL;
  if (next)
    space->spare = NULL;
  else
    next = ae_alloc(sizeof *next + cap);
  next->cap = cap;
  next->live = 0;
  next->len = 0;
  space->block = next;
  return next->bytes;
}

static void taken_free(taken *one) {
  ae__js_space *space = one->space;
  block *of = one->block;
  if (--of->live > 0) return;
  if (of == space->block)
    of->len = 0;
  else
    block_end(space, of);
}

void ae__js_follow_clear(ae__js_space *space) {
  ae__js_pull_clear(&space->pull);
  ae_free(space->block);
  ae_free(space->spare);
  ae_buf_clear(&space->text);
}

static void more(ae__js_space *space) {
  if (space->behindhand <= AHEAD_MAX) ae__js_pull_more(&space->pull);
}

/* What cannot be written down stays to be fetched: the consumer starts anew
 * behind what is there, or, where it is not for want of room, with another
 * file. */
static void not_taken(ae__js_space *space, const ae_append *append) {
  if (space->js->closing || append->status == AE_CANCELED) return;
  space->passed = 0; /* it comes again */
  if (append->status != AE_STORE_FULL && append->status != AE_TOO_LARGE &&
      ae__js_space_lost(space, &append->error))
    return;
  if (space->taken != space->followed)
    ae_log(AE_LOG_ERROR, "what was stored cannot be written down here", "file",
           space->file, "cause", ae_error_text(&append->error), NULL);
  space->taken = space->followed;
  ae__js_ops_fail(&space->behind, append->status, &append->error);
  ae__js_pull_stop(&space->pull);
  space->heard = 0; /* the next tick starts it */
}

/* `sequence` is in the file, and with the last of what is under way also what
 * is no commit and stands behind it. */
static void advance(ae__js_space *space, uint64_t sequence) {
  if (space->behindhand == 0 && space->passed > sequence)
    sequence = space->passed;
  if (sequence <= space->followed) return;
  space->followed = sequence;
  ae__js_ops_wake(space);
  more(space);
  if (space->phase == AE__JS_FILLING && !space->import &&
      space->followed >= space->until)
    ae__js_import_start(space);
}

void ae__js_follow_passed(ae__js_space *space, uint64_t sequence) {
  if (sequence > space->passed) space->passed = sequence;
  advance(space, 0);
}

static void on_taken(ae_append *append) {
  taken *one = (taken *)append;
  ae__js_space *space = one->space;
  space->behindhand--;
  bool mine = space->inner != NULL;
  if (append->status != AE_OK) {
    if (mine) not_taken(space, append);
  } else if (mine) {
    advance(space, append->follows);
  }
  taken_free(one);
}

static void uncork(ae_task *task) {
  ae__js_space *space = AE_CONTAINER(task, ae__js_space, uncork);
  ae__js *js = space->js;
  space->corked = false;
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
  ae_buf *text = &space->text;
  ae_buf_reset(text);
  if (!ae_decode(ae_str_of(id + 1), text) || text->len > 255 || id == type)
    return false;
  ae_ref given = {
      ae__js_name(space), {type, (size_t)(id - type)}, ae_buf_view(text)};
  bool fits = given.type.len <= 64 && given.id.len >= 1 && given.id.len <= 255;
  if (fits) {
    ae__key_of(key, &given);
    *ref = ae__key_ref((ae_str){key->bytes, key->len});
  }
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
  static const size_t align = _Alignof(taken);
  size_t most = sizeof(taken) + message->body.len + align;
  taken *one = room(space, most);
  ae_append *append = &one->append;
  const char *facts = ae_wire_message_header(message, "Aether-Commit");
  uint64_t first = 0;
  memset(one, 0, offsetof(taken, key));
  if (!facts || !facts_of(facts, &first, append) || message->body.len == 0 ||
      !ae__js_key_of(space, message->subject, &one->key, &append->ref)) {
    ae_log(AE_LOG_ERROR, "a message in the stream is no commit; left out",
           "stream", space->stream, "subject", message->subject, NULL);
    ae__js_follow_passed(space, sequence);
    return;
  }
  size_t used = offsetof(taken, key.bytes) + one->key.len;
  char *record = (char *)one + used;
  memcpy(record, message->body.ptr, message->body.len);
  append->record = (ae_buf){record, message->body.len, message->body.len};
  used += message->body.len;
  one->space = space;
  one->block = space->block;
  one->block->live++;
  one->block->len += (used + align - 1) / align * align;
  append->expected_version = first - 1;
  append->follows = sequence;
  append->cb = on_taken;
  cork(space);
  space->behindhand++;
  ae_error err = {0};
  ae_status status = ae_store_append(space->inner, append, &err);
  if (status != AE_OK) { /* too large for SQLite, or closing */
    append->status = status;
    append->error = err;
    on_taken(append);
  }
  ae_error_clear(&err);
}

/* What was missed comes again, with another consumer. */
static void restart(ae__js_space *space) {
  if (space->phase != AE__JS_OPEN && space->phase != AE__JS_FILLING) return;
  ae__js_import_stop(space);
  space->phase = AE__JS_STARTING;
  ae__js_follow_start(space);
}

static void on_message(void *data, const ae_wire_message *message) {
  ae__js_space *space = data;
  uint64_t sequence;
  if (!space->inner) return;
  uint64_t heard = space->heard;
  space->heard = uv_now(&space->js->store.loop->uv);
  switch (ae__js_pull_take(&space->pull, message, &sequence)) {
    case AE__JS_LOST:
      restart(space);
      return;
    case AE__JS_OVER:
      space->heard = heard;
      return;
    case AE__JS_MESSAGE:
      space->came = space->heard;
      if (sequence <= space->taken) break;
      space->taken = sequence;
      if (AE_FAULT("jetstream.message")) break;
      take(space, message, sequence);
      break;
    case AE__JS_CONTROL:
      break;
  }
  more(space);
}

/* -- the consumer -- */

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
  if (status == AE_OK && answer.code == 0 &&
      ae__js_pull_made(&space->pull, &answer)) {
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
                 : ae__js_silence(space->js, &err);
    ae__js_space_leave(space, status, &err);
  } else {
    if (status == AE_OK && !space->unfollowed)
      ae_log(AE_LOG_WARN, "a stream cannot be followed; tried until it can",
             "stream", space->stream, "cause", answer.text, NULL);
    space->unfollowed = status == AE_OK;
    space->phase = space->new ? AE__JS_FILLING : AE__JS_OPEN;
    ae__js_pull_stop(&space->pull);
    space->heard = 0;
  }
  ae_error_clear(&err);
  ae__js_answer_clear(&answer);
}

void ae__js_follow_start(ae__js_space *space) {
  ae__js *js = space->js;
  ae__js_pull_stop(&space->pull);
  if (js->closing) return;
  space->request.cb = on_consumer;
  space->request.data = space;
  space->heard = uv_now(&js->store.loop->uv);
  ae_status status =
      ae__js_pull_start(&space->pull, js, space->stream, space->taken + 1,
                        on_message, space, &space->request, NULL);
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
  ae__js_pull *pull = &space->pull;
  if (strcmp(space->created, "none") == 0) return;
  ae__js_tail_look(space, now);
  if (pull->subscription && pull->owed == 0) { /* SQLite is behind */
    space->heard = now;
    more(space);
    return;
  }
  if (now - space->heard >= QUIET_MS) ae__js_pull_again(pull);
  if (now - space->heard < SILENCE_MS) return;
  if (pull->subscription)
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
  ae_store_options options = {.url = ae_buf_cstr(&url),
                              .mode = AE_STORE_WRITE,
                              .cache = true,
                              .passing = space->js->private};
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
    space->passed = space->sought = 0;
    space->new = space->taken == 0;
    space->until = last;
  } else if (err) {
    ae_error_move(err, &why);
  }
  ae_error_clear(&why);
  ae_buf_clear(&found);
  return status;
}
