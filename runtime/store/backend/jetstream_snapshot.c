/* Snapshots: in a stream of their own, {ns}_snapshots, and in each follower.
 *
 * A snapshot is written down here first, then sent to the stream; only a base
 * waits for the stream's answer, for it is truth. A follower that is made anew
 * fetches them all once it has the commits. On one subject, an actor's, the
 * stream keeps the newest few; bases have subjects of their own. There a base
 * never follows one of a later version: what is before that one may be gone,
 * and it must not be pushed out by a node that is behind with its retention. */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pack.h"
#include "namespace/encode.h"
#include "store/backend/jetstream.h"

enum {
  ASK_MS = 5000,
  NO_MESSAGE = 10037,
  NAME_IN_USE = 10058,
  NOT_THERE = 10059,
  WRONG_LAST_SEQUENCE = 10071,
  SUBJECT_IN_PROCESS = 10164, /* since 2.10: a rival's is not settled yet */
};

static const char FACTS[] = "Aether-Snapshot";

static void stream_name(const ae__js_space *space, ae_buf *out) {
  ae_encode(ae__js_name(space), out);
  ae_buf_printf(out, "_snapshots");
}

/* -- saving -- */

typedef struct saving {
  ae_snapshot_write copy; /* first */
  ae_wire_request request;
  ae_snapshot_write *of;
  ae__js_space *space;
  ae__key key;
  ae_buf state;
} saving;

static void saving_end(saving *save, ae_status status, const ae_error *err) {
  ae__js *js = save->space->js;
  save->of->write.cb(&save->of->write, status, err);
  ae_buf_clear(&save->state);
  ae_free(save);
  js->ops--;
  ae__js_close_look(js);
}

static void share(saving *save);

static void on_stream(ae_wire_request *request, ae_status status,
                      const ae_wire_message *message) {
  saving *save = request->data;
  ae__js_answer answer = {0};
  ae_error err = {0};
  if (status == AE_OK) ae__js_answer_read(&answer, message);
  if (status == AE_OK && (!answer.code || answer.code == NAME_IN_USE)) {
    save->space->snapshots = true;
    share(save);
  } else {
    if (status == AE_OK)
      status = ae__js_refusal(&answer, "make", "of snapshots", &err);
    else if (status != AE_CANCELED)
      status = ae__js_silence(save->space->js, &err);
    saving_end(save, status, &err);
  }
  ae_error_clear(&err);
  ae__js_answer_clear(&answer);
}

static void make_stream(saving *save) {
  ae_buf json = {0}, what = {0};
  ae_ref any = {.ns = ae__js_name(save->space)};
  ae_error err = {0};
  ae_buf_printf(&what, "STREAM.CREATE.");
  stream_name(save->space, &what);
  ae_buf_printf(&json, "{\"name\":\"");
  stream_name(save->space, &json);
  ae_buf_printf(&json, "\",\"subjects\":[\"");
  ae__js_subject(&json, "snapshots", &any);
  ae_buf_printf(&json, "\",\"");
  ae__js_subject(&json, "bases", &any);
  ae_buf_printf(&json,
                "\"],\"storage\":\"file\",\"retention\":\"limits\","
                "\"discard\":\"old\",\"num_replicas\":%u,\"max_age\":0,"
                "\"max_bytes\":-1,\"max_msgs\":-1,\"max_consumers\":-1,"
                "\"max_msg_size\":-1,\"max_msgs_per_subject\":%d,"
                "\"description\":\"Aether: snapshots of a namespace\"}",
                save->space->js->replicas, AE__SNAPSHOTS_KEPT);
  save->request.cb = on_stream;
  save->request.data = save;
  save->request.timeout_ms = ASK_MS;
  ae_status status = ae__js_ask(save->space->js, &save->request,
                                ae_buf_cstr(&what), ae_buf_cstr(&json), &err);
  if (status != AE_OK) saving_end(save, status, &err);
  ae_error_clear(&err);
  ae_buf_clear(&what);
  ae_buf_clear(&json);
}

static void ask_base(saving *save);

static void on_published(ae_wire_request *request, ae_status status,
                         const ae_wire_message *message) {
  saving *save = request->data;
  ae__js_answer answer = {0};
  ae_error err = {0};
  if (status == AE_OK) {
    ae__js_answer_read(&answer, message);
    if (save->copy.base && (answer.code == WRONG_LAST_SEQUENCE ||
                            answer.code == SUBJECT_IN_PROCESS)) {
      ae__js_answer_clear(&answer);
      ask_base(save);
      return;
    }
    if (answer.code)
      status = ae__js_refusal(&answer, "append to", "of snapshots", &err);
  } else if (status != AE_CANCELED) {
    status = ae__js_silence(save->space->js, &err);
  }
  saving_end(save, status, &err);
  ae_error_clear(&err);
  ae__js_answer_clear(&answer);
}

/* `last`: the sequence of the actor's newest base there; 0: there is none. */
static void publish(saving *save, uint64_t last) {
  ae_buf subject = {0};
  char facts[80], expected[24];
  ae__js_subject(&subject, save->copy.base ? "bases" : "snapshots",
                 &save->copy.ref);
  snprintf(facts, sizeof facts, "%" PRIu64 " %" PRId64 " %d",
           save->copy.version, save->copy.shape, save->copy.base);
  snprintf(expected, sizeof expected, "%" PRIu64, last);
  const ae_wire_header headers[] = {
      {FACTS, facts},
      {save->copy.base ? "Nats-Expected-Last-Subject-Sequence" : NULL,
       expected},
      {0}};
  save->request.cb = on_published;
  save->request.data = save;
  save->request.timeout_ms = ASK_MS;
  ae_error err = {0};
  ae_status status =
      ae_wire_ask(save->space->js->wire, &save->request, ae_buf_cstr(&subject),
                  headers, ae_buf_view(&save->state), &err);
  ae_buf_clear(&subject);
  if (status == AE_OK) return;
  /* A cache may be too large to share. */
  bool cache = !save->copy.base && status == AE_TOO_LARGE;
  saving_end(save, cache ? AE_OK : status, cache ? NULL : &err);
  ae_error_clear(&err);
}

/* The version of a base that was asked for. */
static bool read_version(const ae__js_answer *answer, uint64_t *version) {
  ae_str message, value, text;
  ae_buf headers = {0};
  if (!ae_unpack_field(ae_buf_view(&answer->body), "message", &message) ||
      !ae_unpack_field(message, "hdrs", &value))
    return false;
  ae_unpack cursor = ae_unpack_of(value);
  bool read = ae_unpack_str(&cursor, &text) && ae_json_base64(text, &headers);
  const char *at = read ? strstr(ae_buf_cstr(&headers), FACTS) : NULL;
  read = at && sscanf(at + sizeof FACTS - 1, ": %" SCNu64, version) == 1;
  ae_buf_clear(&headers);
  return read;
}

static void on_base(ae_wire_request *request, ae_status status,
                    const ae_wire_message *message) {
  saving *save = request->data;
  ae__js_answer answer = {0};
  ae_error err = {0};
  uint64_t last = 0, version = 0;
  if (status == AE_OK) ae__js_answer_read(&answer, message);
  if (status == AE_OK && answer.code == NO_MESSAGE) {
    publish(save, 0);
  } else if (status == AE_OK && answer.code == 0 &&
             ae__js_answer_uint(&answer, "message", "seq", &last)) {
    if (read_version(&answer, &version) && version > save->copy.version)
      saving_end(save, AE_OK, NULL);
    else
      publish(save, last);
  } else {
    if (status == AE_OK)
      status = ae__js_refusal(&answer, "ask for", "of snapshots", &err);
    else if (status != AE_CANCELED)
      status = ae__js_silence(save->space->js, &err);
    saving_end(save, status, &err);
  }
  ae_error_clear(&err);
  ae__js_answer_clear(&answer);
}

static void ask_base(saving *save) {
  ae_buf what = {0}, json = {0};
  ae_error err = {0};
  ae_buf_printf(&what, "STREAM.MSG.GET.");
  stream_name(save->space, &what);
  ae_buf_printf(&json, "{\"last_by_subj\":\"");
  ae__js_subject(&json, "bases", &save->copy.ref);
  ae_buf_printf(&json, "\"}");
  save->request.cb = on_base;
  save->request.data = save;
  save->request.timeout_ms = ASK_MS;
  ae_status status = ae__js_ask(save->space->js, &save->request,
                                ae_buf_cstr(&what), ae_buf_cstr(&json), &err);
  if (status != AE_OK) saving_end(save, status, &err);
  ae_error_clear(&err);
  ae_buf_clear(&what);
  ae_buf_clear(&json);
}

static void share(saving *save) {
  if (save->copy.base)
    ask_base(save);
  else
    publish(save, 0);
}

static void on_saved(ae_write *write, ae_status status, const ae_error *err) {
  saving *save = AE_CONTAINER(write, saving, copy.write);
  if (status != AE_OK || save->space->js->closing)
    saving_end(save, status, err);
  else if (save->space->snapshots)
    share(save);
  else
    make_stream(save);
}

static void save_run(ae__js_op *op) {
  saving *save = op->of;
  ae_error err = {0};
  ae_status status =
      ae_store_save_snapshot(op->space->inner, &save->copy, &err);
  if (status != AE_OK) on_saved(&save->copy.write, status, &err);
  ae_error_clear(&err);
  ae__js_op_free(op);
}

static void save_fail(ae__js_op *op, ae_status status, const ae_error *err) {
  saving_end(op->of, status, err);
  ae__js_op_free(op);
}

ae_status ae__js_save_snapshot(ae_store *store, ae_snapshot_write *snapshot,
                               ae_error *err) {
  (void)err;
  ae__js *js = ae__js_of(store);
  saving *save = ae_zalloc(sizeof *save);
  save->of = snapshot;
  save->copy = *snapshot;
  save->space = ae__js_space_get(js, snapshot->ref.ns);
  ae__key_of(&save->key, &snapshot->ref);
  save->copy.ref = ae__key_ref((ae_str){save->key.bytes, save->key.len});
  ae_buf_str(&save->state, snapshot->state);
  save->copy.state = ae_buf_view(&save->state);
  save->copy.write = (ae_write){.cb = on_saved};
  js->ops++;
  /* The follower may have to come to that version yet. */
  ae__js_op *op = ae__js_op_new(js, save->copy.ref.ns, AE__JS_ACTOR);
  op->ref = save->copy.ref;
  op->of = save;
  op->run = save_run;
  op->fail = save_fail;
  ae__js_op_start(op);
  return AE_OK;
}

/* -- fetching them all -- */

typedef struct ae__js_import {
  ae__js_space *space; /* NULL: given up */
  ae_wire_request request;
  ae__js_pull pull;
  char *stream;
  bool counted;
  uint64_t wanted; /* messages */
  uint64_t writing;
} ae__js_import;

typedef struct fetched {
  ae_snapshot_write snapshot; /* first */
  ae__js_import *import;
  ae__key key;
} fetched;

static void import_free(ae__js_import *import) {
  ae__js_pull_clear(&import->pull);
  ae_free(import->stream);
  ae_free(import);
}

static void import_look(ae__js_import *import) {
  if (import->writing > 0) return;
  ae__js_space *space = import->space;
  if (!space) {
    import_free(import);
    return;
  }
  if (!import->counted || import->pull.consumed < import->wanted) return;
  ae__js_pull_stop(&import->pull);
  space->import = NULL;
  import_free(import);
  ae__js_follow_opened(space);
}

static void on_written(ae_write *write, ae_status status, const ae_error *err) {
  fetched *one = AE_CONTAINER(write, fetched, snapshot.write);
  ae__js_import *import = one->import;
  (void)err;
  /* Of an actor that is not there (its stream was mended by hand): a cache
   * that nobody misses. A base that cannot be written shows as trimmed. */
  if (status != AE_OK && status != AE_NOT_FOUND && status != AE_CANCELED)
    ae_log(AE_LOG_ERROR, "a snapshot cannot be written down here", "cause",
           err ? ae_error_text(err) : ae_status_text(status), NULL);
  ae_free(one);
  import->writing--;
  import_look(import);
}

static void on_snapshot(void *data, const ae_wire_message *message) {
  ae__js_import *import = data;
  ae__js_space *space = import->space;
  uint64_t sequence;
  ae__js_pulled pulled = ae__js_pull_take(&import->pull, message, &sequence);
  ae__js_pull_more(&import->pull);
  if (pulled == AE__JS_LOST) { /* the follower starts again, and this too */
    ae__js_pull_stop(&import->pull);
    space->heard = 0;
  }
  if (pulled != AE__JS_MESSAGE) return;
  fetched *one = ae_zalloc(sizeof *one);
  const char *facts = ae_wire_message_header(message, FACTS);
  int base = 0;
  unsigned long long version = 0;
  long long shape = 0;
  if (facts && sscanf(facts, "%llu %lld %d", &version, &shape, &base) == 3 &&
      ae__js_key_of(space, message->subject, &one->key, &one->snapshot.ref)) {
    one->import = import;
    one->snapshot.version = version;
    one->snapshot.shape = shape;
    one->snapshot.base = base != 0;
    one->snapshot.follows = true;
    one->snapshot.state = message->body; /* copied before the return */
    one->snapshot.write.cb = on_written;
    import->writing++;
    ae_error err = {0};
    ae_status status =
        ae_store_save_snapshot(space->inner, &one->snapshot, &err);
    if (status != AE_OK) on_written(&one->snapshot.write, status, &err);
    ae_error_clear(&err);
  } else {
    ae_free(one);
    import_look(import);
  }
}

static void on_importing(ae_wire_request *request, ae_status status,
                         const ae_wire_message *message) {
  ae__js_import *import = request->data;
  ae__js_space *space = import->space;
  ae__js_answer answer = {0};
  if (!space) {
    import_free(import);
    return;
  }
  if (status == AE_OK) ae__js_answer_read(&answer, message);
  import->counted = true;
  if (status == AE_OK && answer.code == 0) {
    ae__js_answer_uint(&answer, "num_pending", NULL, &import->wanted);
    ae__js_pull_made(&import->pull, &answer);
    import_look(import);
  } else if (status == AE_OK && answer.code == NOT_THERE) {
    import_look(import); /* there are none */
  } else if (status != AE_CANCELED) {
    ae_error err = {0};
    status = status == AE_OK
                 ? ae__js_refusal(&answer, "read", import->stream, &err)
                 : ae__js_silence(space->js, &err);
    ae__js_space_leave(space, status, &err);
    ae_error_clear(&err);
  }
  ae__js_answer_clear(&answer);
}

void ae__js_import_start(ae__js_space *space) {
  ae__js_import *import = ae_zalloc(sizeof *import);
  ae_buf stream = {0};
  ae_error err = {0};
  stream_name(space, &stream);
  space->import = import;
  import->space = space;
  import->stream = ae_strdup(ae_buf_cstr(&stream));
  import->request.cb = on_importing;
  import->request.data = import;
  ae_status status =
      ae__js_pull_start(&import->pull, space->js, import->stream, 1,
                        on_snapshot, import, &import->request, &err);
  ae_buf_clear(&stream);
  if (status != AE_OK) {
    space->import = NULL;
    import_free(import);
    ae__js_space_leave(space, status, &err);
  }
  ae_error_clear(&err);
}

void ae__js_import_stop(ae__js_space *space) {
  ae__js_import *import = space->import;
  if (!import) return;
  space->import = NULL;
  import->space = NULL;
  ae__js_pull_stop(&import->pull);
  /* Its request or its writes still come back to it. */
  if (import->counted && import->writing == 0) import_free(import);
}
