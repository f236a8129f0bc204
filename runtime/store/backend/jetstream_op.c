/* What waits before it can be answered from the follower.
 *
 *   start ──► namespace open? ──► what must be there? ──► is it there? ──► run
 *                 │ failed            │ no answer           │ closing
 *                 └──────────────► fail ◄───────────────────┘
 */
#include "base/mem.h"
#include "store/backend/jetstream.h"

enum { ASK_MS = 5000 };

ae__js_op *ae__js_op_new(ae__js *js, ae_str ns, ae__js_need need) {
  ae__js_op *op = ae_zalloc(sizeof *op);
  op->handle.store = &js->store;
  op->js = js;
  op->space = ae__js_space_get(js, ns);
  op->need = need;
  ae_list_init(&op->link);
  js->ops++;
  return op;
}

void ae__js_op_free(ae__js_op *op) {
  ae__js *js = op->js;
  ae_list_remove(&op->link);
  ae_error_clear(&op->error);
  ae_free(op);
  js->ops--;
  ae__js_close_look(js);
}

static void fail_now(ae_task *task) {
  ae__js_op *op = AE_CONTAINER(task, ae__js_op, task);
  ae_loop_release(op->js->store.loop);
  op->fail(op, op->status, &op->error);
}

void ae__js_op_fail(ae__js_op *op, ae_status status, const ae_error *err) {
  ae_list_remove(&op->link);
  op->status = status;
  if (err)
    ae_error_copy(&op->error, err);
  else
    ae_error_set(&op->error, status, "%s", ae_status_text(status));
  op->task.run = fail_now;
  ae_loop_hold(op->js->store.loop);
  ae_loop_defer(op->js->store.loop, &op->task);
}

void ae__js_ops_fail(ae_list *ops, ae_status status, const ae_error *err) {
  while (!ae_list_empty(ops))
    ae__js_op_fail(AE_CONTAINER(ops->next, ae__js_op, link), status, err);
}

static bool canceled(const ae__js_op *op) {
  return op->js->closing || (op->read && op->js->store.closing);
}

static void run_later(ae_task *task) {
  ae__js_op *op = AE_CONTAINER(task, ae__js_op, task);
  ae_loop_release(op->js->store.loop);
  if (canceled(op)) {
    ae_error_set(&op->error, AE_CANCELED, "the store is closing");
    op->fail(op, AE_CANCELED, &op->error);
    return;
  }
  if (!op->space->inner) {
    ae_error_set(&op->error, AE_STORE_UNAVAILABLE,
                 "what this node has of the stream %s is fetched anew",
                 op->space->stream);
    ae_error_cstr(&op->error, "cause", "fetched anew");
    op->fail(op, AE_STORE_UNAVAILABLE, &op->error);
    return;
  }
  op->run(op);
}

void ae__js_ops_cancel(ae_list *ops) {
  for (ae_list *at = ops->next, *next; at != ops; at = next) {
    next = at->next;
    ae__js_op *op = AE_CONTAINER(at, ae__js_op, link);
    if (op->read) ae__js_op_fail(op, AE_CANCELED, NULL);
  }
}

static void run_soon(ae__js_op *op) {
  ae_list_remove(&op->link);
  op->task.run = run_later;
  ae_loop_hold(op->js->store.loop);
  ae_loop_defer(op->js->store.loop, &op->task);
}

static void wait_for_follower(ae__js_op *op) {
  if (op->sequence <= op->space->followed)
    run_soon(op);
  else
    ae_list_push(&op->space->behind, &op->link);
}

void ae__js_ops_wake(ae__js_space *space) {
  for (ae_list *at = space->behind.next, *next; at != &space->behind;
       at = next) {
    ae__js_op *op = AE_CONTAINER(at, ae__js_op, link);
    next = at->next;
    if (op->sequence <= space->followed) run_soon(op);
  }
}

static void on_last(ae_wire_request *request, ae_status status,
                    const ae_wire_message *message) {
  ae__js_op *op = request->data;
  ae__js_answer answer = {0};
  ae_error err = {0};
  ae__js_heard(op->space, status);
  if (canceled(op)) status = AE_CANCELED;
  if (status != AE_OK) {
    ae__js_op_fail(
        op, status == AE_CANCELED ? status : ae__js_silence(op->js, &err),
        status == AE_CANCELED ? NULL : &err);
    ae_error_clear(&err);
    return;
  }
  ae__js_answer_read(&answer, message);
  bool stream = op->need == AE__JS_STREAM;
  bool found =
      stream ? ae__js_answer_uint(&answer, "state", "last_seq", &op->sequence)
             : ae__js_answer_uint(&answer, "message", "seq", &op->sequence);
  if (found) {
    wait_for_follower(op);
  } else if (answer.code == 10037 || answer.code == 10059) {
    /* no message of that subject, or no stream (any more) */
    op->sequence = 0;
    wait_for_follower(op);
  } else {
    status = ae__js_refusal(&answer, "ask for", op->space->stream, &err);
    ae__js_op_fail(op, status, &err);
    ae_error_clear(&err);
  }
  ae__js_answer_clear(&answer);
}

static void ask(ae__js_op *op) {
  ae_buf what = {0}, json = {0};
  if (op->need == AE__JS_STREAM) {
    ae_buf_printf(&what, "STREAM.INFO.%s", op->space->stream);
  } else {
    ae_buf_printf(&what, "STREAM.MSG.GET.%s", op->space->stream);
    ae_buf_printf(&json, "{\"last_by_subj\":\"");
    ae__js_subject(&json, "log", &op->ref);
    ae_buf_printf(&json, "\"}");
  }
  op->request.cb = on_last;
  op->request.data = op;
  op->request.timeout_ms = ASK_MS;
  ae_error err = {0};
  ae_status status = ae__js_ask(op->js, &op->request, ae_buf_cstr(&what),
                                json.len ? ae_buf_cstr(&json) : "", &err);
  if (status != AE_OK) ae__js_op_fail(op, status, &err);
  ae_error_clear(&err);
  ae_buf_clear(&what);
  ae_buf_clear(&json);
}

void ae__js_op_go(ae__js_op *op) {
  ae_list_remove(&op->link);
  /* Without a stream the empty follower answers. */
  if (op->space->phase == AE__JS_ABSENT || op->need == AE__JS_NOTHING)
    run_soon(op);
  else if (op->need == AE__JS_GIVEN)
    wait_for_follower(op);
  else
    ask(op);
}

void ae__js_op_start(ae__js_op *op) {
  ae__js_phase phase = op->space->phase;
  if (phase == AE__JS_OPEN) {
    ae__js_op_go(op);
    return;
  }
  ae_list_push(&op->space->waiting, &op->link);
  ae__js_space_open(op->space);
}
