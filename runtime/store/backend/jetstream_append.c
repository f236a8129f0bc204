/* Appends: one at a time for each actor, as many actors as there are.
 *
 *            pump                    stored
 *   WAITING ──────► FLYING ───────────────────────────► answered
 *      ▲              │ │ wrong last sequence: N           ▲
 *      │              │ └──► ASKING: what is at N? ────────┤ conflict
 *      │◄─────────────┼──────────┘ ours was stale          │
 *      │              │ duplicate, or N after a lost       │
 *      │              │ answer ──► SETTLING: is it ours? ──┘
 *      │              │ no answer, or a rival's commit is being replicated
 *      │              └──► again, byte for byte (STRANDED without connection)
 *
 *   transition            function
 *   WAITING → FLYING      pump → fly
 *   FLYING → …            on_answer
 *   ASKING → …            head_asked
 *   SETTLING → …          settled
 *   STRANDED → FLYING     ae__js_stranded_go
 *
 * 1. The first append of a head's queue is the one in any of these states.
 * 2. An answer to the caller says what is so: stored, or not stored; only
 *    closing without a connection leaves it open (store_uncertain). */
#define _GNU_SOURCE /* memmem */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pack.h"
#include "namespace/encode.h"
#include "store/backend/jetstream.h"
#include "store/concurrency/once.h"

enum {
  ANSWER_MS = 4000,
  HEADS_MAX = 262144,
  HEADERS_BYTES = 1536, /* an append's, with the longest names */
  WRONG_LAST_SEQUENCE = 10071,
  /* Servers from 2.10 on say that a rival's commit is not on all replicas yet,
   * by its message id or by its subject. What becomes of it they do not know.
   */
  ID_IN_PROCESS = 10158,
  SUBJECT_IN_PROCESS = 10164,
  IN_PROCESS_MS = 5,
};

void ae__js_subject(ae_buf *out, const char *kind, const ae_ref *ref) {
  ae_buf_printf(out, "aether.%s.", kind);
  ae_encode(ref->ns, out);
  if (!ref->type.ptr) { /* all of the namespace */
    ae_buf_str(out, AE_STR(".>"));
    return;
  }
  ae_buf_byte(out, '.');
  ae_buf_str(out, ref->type);
  ae_buf_byte(out, '.');
  ae_encode(ref->id, out);
}

/* -- heads -- */

static bool idle(const ae__js_head *head) {
  return !head->first && !head->asking && !head->busy &&
         ae_list_empty(&head->due);
}

static void head_free(ae__js_head *head) {
  ae__js *js = head->space->js;
  ae_list_remove(&head->ring);
  ae_map_remove(&js->heads, (ae_str){head->key, head->len});
  ae_free(head);
}

static void heads_trim(ae__js *js) {
  for (int looks = 0; js->heads.count > HEADS_MAX && looks < 8; looks++) {
    ae__js_head *head = AE_CONTAINER(js->ring.next, ae__js_head, ring);
    if (idle(head) && !head->used) {
      head_free(head);
      continue;
    }
    head->used = false;
    ae_list_remove(&head->ring);
    ae_list_push(&js->ring, &head->ring);
  }
}

static ae__js_head *head_get(ae__js *js, const ae_ref *ref) {
  ae__key key;
  ae__key_of(&key, ref);
  ae_str name = {key.bytes, key.len};
  uint64_t hash = ae_map_hash(name);
  ae__js_head *head = ae_map_get_hashed(&js->heads, name, hash);
  if (head) {
    head->used = true;
    return head;
  }
  heads_trim(js);
  head = ae_zalloc(sizeof *head + key.len);
  head->space = ae__js_space_get(js, ref->ns);
  head->last = &head->first;
  head->used = true;
  head->len = key.len;
  memcpy(head->key, key.bytes, key.len);
  head->ref = ae__key_ref((ae_str){head->key, head->len});
  ae_map_put_hashed(&js->heads, (ae_str){head->key, head->len}, hash, head);
  ae_list_init(&head->due);
  ae_list_push(&js->ring, &head->ring);
  return head;
}

static ae_append *first_of(const ae__js_head *head) {
  return head->first ? AE_CONTAINER(head->first, ae_append, task) : NULL;
}

static void pump(ae__js_head *head);

/* -- one after the other -- */

static void order_push(ae__js *js, ae__js_head *head) {
  if (!js->ordered) return;
  if (js->order_count == js->order_cap) {
    js->order_cap = js->order_cap ? 2 * js->order_cap : 64;
    js->order = ae_realloc(js->order, js->order_cap * sizeof(ae__js_head *));
  }
  js->order[js->order_count++] = head;
}

/* Whether it is this one's turn. */
static bool order_at(const ae__js *js, const ae__js_head *head) {
  return !js->ordered || js->order_first == js->order_count ||
         js->order[js->order_first] == head;
}

static void order_done(ae__js *js, const ae__js_head *head) {
  if (!js->ordered) return;
  size_t at = js->order_first;
  while (at < js->order_count && js->order[at] != head) at++;
  for (; at > js->order_first && at < js->order_count; at--)
    js->order[at] = js->order[at - 1]; /* one that failed before its turn */
  js->order_first++;
  if (js->order_first < js->order_count) return;
  js->order_first = js->order_count = 0;
}

static void order_next(ae__js *js) {
  if (js->ordered && js->order_first < js->order_count)
    pump(js->order[js->order_first]);
}

/* The first is answered; the next may go. */
static void answer(ae__js_head *head, ae_status status) {
  ae__js *js = head->space->js;
  ae_append *append = first_of(head);
  head->first = append->task.next;
  if (!head->first) head->last = &head->first;
  head->fresh = head->cleared = false;
  append->status = status;
  js->flights--;
  order_done(js, head);
  bool busy = head->busy;
  head->busy = true; /* the callback may append to it, not free it */
  ae__append_answer(&js->store, append);
  head->busy = busy;
  pump(head);
  order_next(js);
  ae__js_close_look(js);
}

static void fail(ae__js_head *head, ae_status status, const ae_error *err) {
  ae_append *append = first_of(head);
  append->position = append->current_version = 0;
  ae_error_clear(&append->error);
  if (err)
    ae_error_copy(&append->error, err);
  else
    ae_error_set(&append->error, status, "%s", ae_status_text(status));
  answer(head, status);
}

static void conflict(ae__js_head *head) {
  ae_append *append = first_of(head);
  append->position = 0;
  append->current_version = head->version;
  ae_error_clear(&append->error);
  answer(head,
         ae_conflict_set(&append->error, &append->ref, append->expected_version,
                         head->version, 1, NULL));
}

static void stored(ae__js_head *head, uint64_t sequence) {
  ae_append *append = first_of(head);
  head->version = append->expected_version + append->event_count;
  head->sequence = sequence;
  head->known = true;
  append->position = sequence;
  append->current_version = head->version;
  answer(head, AE_OK);
}

static void flight_free(ae__js_flight *flight) {
  ae_list_remove(&flight->link);
  flight->head->flight = NULL;
  ae_free(flight);
}

/* -- what is the actor's last commit? -- */

static void head_failed(ae__js_op *op, ae_status status, const ae_error *err) {
  ae__js_head *head = op->of;
  head->asking = false;
  if (first_of(head)) fail(head, status, err);
  ae__js_op_free(op);
}

static void head_asked(ae_lookup *lookup, ae_status status,
                       const ae_error *err) {
  ae__js_op *op = lookup->data;
  ae__js_head *head = op->of;
  if (status == AE_OK && lookup->last < op->sequence) {
    head->known = false;
    ae__js_doubt(op, lookup->last);
    ae_free(lookup);
    return;
  }
  head->asking = false;
  if (status == AE_OK) {
    head->version = lookup->version;
    head->sequence = lookup->last;
    head->known = head->fresh = true;
    pump(head);
  } else if (first_of(head)) {
    fail(head, status, err);
  }
  ae_free(lookup);
  ae__js_op_free(op);
}

static void head_ask_inner(ae__js_op *op) {
  ae__js_head *head = op->of;
  ae_lookup *lookup = ae_zalloc(sizeof *lookup);
  lookup->ref = head->ref;
  lookup->cb = head_asked;
  lookup->data = op;
  ae_error err = {0};
  ae_status status = ae_store_lookup(op->space->inner, lookup, &err);
  if (status != AE_OK) {
    ae_free(lookup);
    head_failed(op, status, &err);
  }
  ae_error_clear(&err);
}

/* `sequence` 0: of the leader; else what the follower says when it is there. */
static void head_ask(ae__js_head *head, uint64_t sequence) {
  ae__js_op *op = ae__js_op_new(head->space->js, head->ref.ns,
                                sequence ? AE__JS_GIVEN : AE__JS_ACTOR);
  op->sequence = sequence;
  op->ref = head->ref;
  op->of = head;
  op->run = head_ask_inner;
  op->fail = head_failed;
  head->asking = true;
  ae__js_op_start(op);
}

/* -- was it ours? -- */

typedef struct settling {
  ae_read read; /* first */
  ae__js_op *op;
  uint64_t found; /* position; 0: not found */
} settling;

static void settle_failed(ae__js_op *op, ae_status status,
                          const ae_error *err) {
  ae__js_head *head = op->of;
  (void)status;
  head->asking = false;
  flight_free(head->flight);
  ae_error why = {0};
  ae_error_set(&why, AE_STORE_UNCERTAIN,
               "the answer was lost, and whether it was stored cannot be "
               "found out: %s",
               err ? ae_error_text(err) : ae_status_text(status));
  fail(head, AE_STORE_UNCERTAIN, &why);
  ae_error_clear(&why);
  ae__js_op_free(op);
}

static void settled(ae_read *read, ae_status status, const ae_page *page,
                    const ae_error *err) {
  settling *look = (settling *)read;
  ae__js_op *op = look->op;
  ae__js_head *head = op->of;
  ae_str ours = ae_buf_view(&first_of(head)->record);
  for (uint32_t i = 0; status == AE_OK && i < page->count; i++)
    if (ae_str_eq(page->records[i].bytes, ours))
      look->found = page->records[i].position;
  if (status == AE_OK && !page->end) {
    ae_read_more(read);
    return;
  }
  uint64_t found = look->found, latest = read->latest;
  ae_free(look);
  if (status != AE_OK) {
    settle_failed(op, status, err);
    return;
  }
  head->asking = false;
  flight_free(head->flight);
  head->known = head->cleared = false;
  head->version = latest;
  if (found)
    stored(head, found);
  else if (latest != first_of(head)->expected_version)
    conflict(head);
  else
    head_ask(head, 0); /* another's, without events: the version still holds */
  ae__js_op_free(op);
}

static void settle_read(ae__js_op *op) {
  ae__js_head *head = op->of;
  ae_append *append = first_of(head);
  settling *look = ae_zalloc(sizeof *look);
  look->op = op;
  look->read.ref = head->ref;
  look->read.from = append->expected_version + 1;
  look->read.to = append->expected_version + 1;
  look->read.cb = settled;
  ae_error err = {0};
  ae_status status = ae_store_read(op->space->inner, &look->read, &err);
  if (status != AE_OK) {
    ae_free(look);
    settle_failed(op, status, &err);
  }
  ae_error_clear(&err);
}

static void settle(ae__js_head *head, uint64_t sequence) {
  ae__js_op *op = ae__js_op_new(head->space->js, head->ref.ns, AE__JS_GIVEN);
  op->sequence = sequence;
  op->of = head;
  op->run = settle_read;
  op->fail = settle_failed;
  head->asking = true;
  ae__js_op_start(op);
}

/* -- flying -- */

static void fly(ae__js_head *head);

/* "…"seq":N…" of an answer to a publish; no JSON reader for each commit. */
static bool seq_of(ae_str body, uint64_t *out) {
  static const char key[] = "\"seq\":";
  const char *at = memmem(body.ptr, body.len, key, sizeof key - 1);
  if (!at) return false;
  const char *end = body.ptr + body.len;
  uint64_t n = 0;
  for (at += sizeof key - 1; at < end && *at == ' '; at++) {
  }
  for (; at < end && *at >= '0' && *at <= '9'; at++)
    n = n * 10 + (uint64_t)(*at - '0');
  *out = n;
  return n > 0;
}

static bool holds(ae_str body, const char *text) {
  return memmem(body.ptr, body.len, text, strlen(text)) != NULL;
}

/* "wrong last sequence: N". */
static uint64_t true_last(const ae__js_answer *answer) {
  const char *colon = strrchr(answer->text, ':');
  return colon ? strtoull(colon + 1, NULL, 10) : 0;
}

/* 2.10 answers `duplicate` with the sequence 0 instead of an error. */
static bool in_process(const ae__js_answer *said, ae_str body) {
  return said->code == ID_IN_PROCESS || said->code == SUBJECT_IN_PROCESS ||
         (said->code == 0 && holds(body, "\"duplicate\""));
}

static void on_resend(uv_timer_t *timer) {
  ae__js_stranded_go(timer->data);
}

/* Not stored by this sending, and another may yet be: asked again shortly. */
static void hold(ae__js_flight *flight) {
  ae__js *js = flight->head->space->js;
  ae_list_push(&js->stranded, &flight->link);
  if (!uv_is_active((uv_handle_t *)&js->resend))
    uv_timer_start(&js->resend, on_resend, IN_PROCESS_MS, 0);
}

static void refused(ae__js_head *head, const ae_wire_message *message) {
  ae__js_flight *flight = head->flight;
  ae__js_answer said;
  ae_error err = {0};
  ae__js_answer_read(&said, message);
  uint64_t last = true_last(&said);
  if (in_process(&said, message->body)) {
    hold(flight);
  } else if (said.code == WRONG_LAST_SEQUENCE && flight->again && last > 0) {
    settle(head, last);
  } else if (said.code == WRONG_LAST_SEQUENCE && last > 0) {
    flight_free(flight);
    head->known = head->cleared = false;
    head_ask(head, last);
  } else if (said.code == WRONG_LAST_SEQUENCE && last == 0) {
    flight_free(flight);
    head->known = false;
    ae_error_set(&err, AE_STORE_UNAVAILABLE,
                 "the stream %s has lost the actor's last commit: it was "
                 "deleted there, by hand or by a limit of the stream",
                 head->space->stream);
    ae_error_cstr(&err, "cause", said.text);
    fail(head, AE_STORE_UNAVAILABLE, &err);
  } else {
    flight_free(flight);
    ae_status status =
        ae__js_refusal(&said, "append to", head->space->stream, &err);
    fail(head, status, &err);
  }
  ae_error_clear(&err);
  ae__js_answer_clear(&said);
}

static void strand(ae__js_flight *flight) {
  ae__js *js = flight->head->space->js;
  flight->again = true;
  if (js->closing) {
    ae__js_head *head = flight->head;
    flight_free(flight);
    fail(head, AE_STORE_UNCERTAIN, NULL);
  } else {
    ae_list_push(&js->stranded, &flight->link);
  }
}

static void transmit(ae__js_flight *flight);

static void on_answer(ae_wire_request *request, ae_status status,
                      const ae_wire_message *message) {
  ae__js_flight *flight = request->data;
  ae__js_head *head = flight->head;
  uint64_t sequence;
  if (status == AE_OK && AE_FAULT("jetstream.answer"))
    status = AE_STORE_UNCERTAIN;
  ae__js_heard(head->space, status);
  if (status != AE_OK) {
    ae_wire_info info;
    ae_wire_info_get(head->space->js->wire, &info);
    flight->again = true;
    if (status != AE_CANCELED && info.connected)
      transmit(flight);
    else
      strand(flight);
    return;
  }
  ae_str body = message->body;
  if (holds(body, "\"error\"") || !seq_of(body, &sequence)) {
    refused(head, message);
  } else if (holds(body, "\"duplicate\"")) {
    settle(head, sequence);
  } else {
    flight_free(flight);
    stored(head, sequence);
  }
}

static void transmit(ae__js_flight *flight) {
  ae__js_head *head = flight->head;
  ae_append *append = first_of(head);
  char last[24], facts[64];
  ae_buf subject = {0}, id = {0};
  ae__js_subject(&subject, "log", &head->ref);
  /* The subject, not the name: a header holds no line breaks. */
  ae_buf_printf(&id, "%s:%" PRIu64, ae_buf_cstr(&subject), flight->sequence);
  snprintf(last, sizeof last, "%" PRIu64, flight->sequence);
  snprintf(facts, sizeof facts, "%" PRIu64 " %" PRIu32 " %" PRIu32,
           append->expected_version + 1, append->event_count, append->id_count);
  const ae_wire_header headers[] = {
      {"Nats-Msg-Id", ae_buf_cstr(&id)},
      {"Nats-Expected-Last-Subject-Sequence", last},
      {"Aether-Commit", facts},
      {0}};
  flight->request.cb = on_answer;
  flight->request.data = flight;
  flight->request.timeout_ms = ANSWER_MS;
  ae_error err = {0};
  ae_status status = ae_wire_ask(head->space->js->wire, &flight->request,
                                 ae_buf_cstr(&subject), headers,
                                 ae_buf_view(&append->record), &err);
  ae_buf_clear(&subject);
  ae_buf_clear(&id);
  if (status == AE_OK) return;
  if (flight->again) {
    strand(flight);
  } else {
    flight_free(flight);
    fail(head, status, &err);
  }
  ae_error_clear(&err);
}

static void fly(ae__js_head *head) {
  ae__js_flight *flight = ae_zalloc(sizeof *flight);
  flight->head = head;
  flight->sequence = head->sequence;
  ae_list_init(&flight->link);
  head->flight = flight;
  transmit(flight);
}

/* -- ids -- */

typedef struct searching {
  ae_lookup lookup; /* first */
  ae__once once;
  ae__js_op *op;
} searching;

static void search_end(searching *search) {
  ae__js_head *head = search->op->of;
  head->asking = false;
  ae__js_op_free(search->op);
  ae_free(search);
}

static void search_next(searching *search);

static void searched(ae_lookup *lookup, ae_status status, const ae_error *err) {
  searching *search = (searching *)lookup;
  ae__js_head *head = search->op->of;
  ae_append *append = first_of(head);
  if (status != AE_OK) {
    search_end(search);
    fail(head, status, err);
  } else if (lookup->version != append->expected_version) {
    search_end(search); /* somebody was first: ask the leader */
    head->known = false;
    pump(head);
  } else if (lookup->position > 0) {
    uint64_t position = lookup->position;
    search_end(search);
    append->position = position;
    append->current_version = append->expected_version;
    ae_error_clear(&append->error);
    ae_error_set(&append->error, AE_DUPLICATE, "stored before");
    answer(head, AE_DUPLICATE);
  } else {
    search_next(search);
  }
}

static void search_next(searching *search) {
  ae__js_head *head = search->op->of;
  ae_error err = {0};
  ae_str id;
  if (!ae__once_next(&search->once, &id)) {
    search_end(search);
    head->cleared = true;
    pump(head);
    return;
  }
  search->lookup.ref = head->ref;
  search->lookup.command_id = id;
  search->lookup.cb = searched;
  ae_status status =
      ae_store_lookup(search->op->space->inner, &search->lookup, &err);
  if (status != AE_OK) {
    search_end(search);
    fail(head, status, &err);
  }
  ae_error_clear(&err);
}

static void search_start(ae__js_op *op) {
  ae__js_head *head = op->of;
  searching *search = ae_zalloc(sizeof *search);
  search->op = op;
  ae_error err = {0};
  ae_status status =
      ae__once_init(&search->once, ae_buf_view(&first_of(head)->record), &err);
  if (status == AE_OK) {
    search_next(search);
  } else {
    search_end(search);
    fail(head, status, &err);
  }
  ae_error_clear(&err);
}

static void ids_search(ae__js_head *head) {
  ae__js_op *op = ae__js_op_new(head->space->js, head->ref.ns, AE__JS_GIVEN);
  op->sequence = head->sequence;
  op->of = head;
  op->run = search_start;
  op->fail = head_failed;
  head->asking = true;
  ae__js_op_start(op);
}

/* Of an actor that has nothing, says the caller: if that is so, no id of it is
 * stored, and else the append is refused. */
static void ids_check(ae__js_head *head) {
  ae__once once;
  ae_error err = {0};
  ae_status status =
      ae__once_init(&once, ae_buf_view(&first_of(head)->record), &err);
  head->cleared = status == AE_OK;
  if (status == AE_OK)
    fly(head);
  else
    fail(head, status, &err);
  ae_error_clear(&err);
}

/* -- pump -- */

static void pump(ae__js_head *head) {
  ae_append *append = first_of(head);
  if (!append || head->busy || head->asking || head->flight) return;
  if (!order_at(head->space->js, head)) return;
  if (head->space->phase != AE__JS_OPEN) {
    ae__js_space_open(head->space);
    return; /* pumped when it is open */
  }
  bool new_actor = !head->known && append->expected_version == 0;
  bool stale = head->known && head->version != append->expected_version;
  if (new_actor) head->version = head->sequence = 0;
  if (stale && head->fresh) {
    conflict(head);
  } else if (stale || (!head->known && !new_actor)) {
    head->known = false;
    head_ask(head, 0);
  } else if (append->id_count > 0 && !append->looked_up && !head->cleared &&
             head->known) {
    ids_search(head);
  } else if (append->id_count > 0 && !append->looked_up && !head->cleared) {
    ids_check(head);
  } else {
    fly(head);
  }
}

/* Nothing is called back inside the call. */
static void pump_due(ae_task *task) {
  ae__js *js = AE_CONTAINER(task, ae__js, pump);
  ae_list all;
  ae_list *link;
  js->pumping = false;
  ae_loop_release(js->store.loop);
  ae_list_init(&all);
  while ((link = ae_list_shift(&js->due))) ae_list_push(&all, link);
  while ((link = ae_list_shift(&all)))
    pump(AE_CONTAINER(link, ae__js_head, due));
  ae__js_close_look(js);
}

size_t ae__js_record_max(const ae_store *store) {
  size_t most = ae_wire_max_payload(((const ae__js *)store)->wire);
  return most > 2 * HEADERS_BYTES ? most - HEADERS_BYTES : most / 2;
}

ae_status ae__js_append(ae_store *store, ae_append *append, ae_error *err) {
  (void)err;
  ae__js *js = ae__js_of(store);
  ae__js_head *head = head_get(js, &append->ref);
  append->task.next = NULL;
  *head->last = &append->task;
  head->last = &append->task.next;
  js->flights++;
  order_push(js, head);
  if (ae_list_empty(&head->due)) ae_list_push(&js->due, &head->due);
  if (!js->pumping) {
    js->pumping = true;
    js->pump.run = pump_due;
    ae_loop_hold(store->loop);
    ae_loop_defer(store->loop, &js->pump);
  }
  return AE_OK;
}

/* -- all of them -- */

void ae__js_heads_pump(ae__js_space *space) {
  ae__js_head *head;
  for (size_t at = 0; (head = ae_map_next(&space->js->heads, &at));)
    if (head->space == space) pump(head);
}

/* Callbacks may bring new ones, which wait for the next opening. */
void ae__js_heads_fail(ae__js_space *space, ae_status status,
                       const ae_error *err) {
  ae__js_head *head;
  ae_error why = {0};
  if (err) {
    ae_error_copy(&why, err);
  } else {
    ae_error_set(&why, status, "%s", ae_status_text(status));
  }
  for (size_t at = 0; (head = ae_map_next(&space->js->heads, &at));) {
    if (head->space != space) continue;
    head->known = false;
    size_t waiting = 0;
    for (ae_task *task = head->first; task; task = task->next) waiting++;
    if (head->flight || head->asking) continue; /* it will be answered */
    for (head->busy = true; waiting > 0; waiting--) fail(head, status, &why);
    head->busy = false;
  }
  ae_error_clear(&why);
}

void ae__js_heads_clear(ae__js *js) {
  while (!ae_list_empty(&js->ring))
    head_free(AE_CONTAINER(js->ring.next, ae__js_head, ring));
  ae_map_clear(&js->heads);
  ae_free(js->order);
}

void ae__js_stranded_go(ae__js *js) {
  ae_list all;
  ae_list_init(&all);
  ae_list *link;
  while ((link = ae_list_shift(&js->stranded))) ae_list_push(&all, link);
  while ((link = ae_list_shift(&all)))
    transmit(AE_CONTAINER(link, ae__js_flight, link));
}

void ae__js_stranded_fail(ae__js *js) {
  ae_list *link;
  while ((link = ae_list_shift(&js->stranded))) {
    ae__js_flight *flight = AE_CONTAINER(link, ae__js_flight, link);
    ae__js_head *head = flight->head;
    flight_free(flight);
    fail(head, AE_STORE_UNCERTAIN, NULL);
  }
}
