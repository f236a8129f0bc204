#include "door/session.h"

#include "door/terminal.h"

/* Say whose store this is, and why it is not asked of a node. */
static void say_own_store(const ae__session *session) {
  if (session->config.store_source == AE_SETTING_FLAG) return;
  bool asked = session->why.status != AE_OK;
  ae__say("%s%sreading the app's own store, %s", ae_error_text(&session->why),
          asked ? "; " : "", session->config.store);
}

static int give_up(ae__session *session) {
  int exit = ae__complain(session->args, &session->err);
  ae__session_clear(session);
  return exit;
}

static ae_status begin(ae__session *session, const ae__args *args) {
  memset(session, 0, sizeof *session);
  session->args = args;
  ae_status status = ae__args_config(args, &session->config, &session->err);
  if (status == AE_OK) {
    status = ae_loop_init(&session->loop, &session->err);
    session->looping = status == AE_OK;
  }
  return status;
}

static int open_node(ae__session *session, ae__session_for purpose) {
  bool writes = purpose >= AE__RUN_COMMANDS;
  bool store = purpose != AE__READ_MODULES ||
               ae_config_has_store(&session->config, NULL) == AE_OK;
  const ae_node_options options = {
      .config = &session->config,
      .modules = purpose == AE__READ_ACTORS || purpose == AE__READ_MODULES ||
                 purpose == AE__RUN_COMMANDS,
      .store = store,
      .still = purpose == AE__READ_MOMENT,
      .ordered = purpose == AE__FILL_STORE,
      .mode = writes ? AE_STORE_WRITE : AE_STORE_READ,
  };
  ae_status status = AE_OK;
  if (purpose == AE__CHANGE_STORE)
    status = ae_config_has_store(&session->config, &session->err);
  if (status == AE_OK)
    status =
        ae_node_open(&session->loop, &options, &session->node, &session->err);
  if (status == AE_STORE_UNAVAILABLE && session->why.status != AE_OK)
    ae_error_add(&session->err, " (%s)", ae_error_text(&session->why));
  if (status != AE_OK) return give_up(session);
  if (!writes && store) say_own_store(session);
  return 0;
}

int ae__session_open(ae__session *session, const ae__args *args,
                     ae__session_for purpose) {
  if (begin(session, args) != AE_OK) return give_up(session);
  return open_node(session, purpose);
}

int ae__session_ask(ae__session *session, const ae__args *args,
                    ae__session_for purpose) {
  bool named;
  if (begin(session, args) != AE_OK) return give_up(session);
  if (session->config.store_source == AE_SETTING_FLAG) {
    if (!ae__args_get(args, "url")) return open_node(session, purpose);
    ae_error_set(&session->err, AE_USAGE,
                 "--store opens a store, --url asks a node: one of them");
    return give_up(session);
  }
  ae_status status = ae__client_open(args, &session->config, &session->client,
                                     &named, &session->err);
  if (status == AE_OK) return 0;
  if (named || status == AE_CANCELED) return give_up(session);
  ae_error_move(&session->why, &session->err);
  return open_node(session, purpose);
}

int ae__session_reach(ae__session *session, const ae__args *args) {
  bool named;
  if (begin(session, args) != AE_OK ||
      ae__client_open(args, &session->config, &session->client, &named,
                      &session->err) != AE_OK)
    return give_up(session);
  return 0;
}

void ae__session_run(ae__session *session) {
  ae_loop_run(&session->loop);
}

static void node_closed(void *data) {
  (void)data;
}

void ae__session_end(ae__session *session) {
  if (session->node) ae_node_close(session->node, node_closed, NULL);
  session->node = NULL;
}

void ae__session_clear(ae__session *session) {
  ae__session_end(session);
  if (session->looping) {
    ae_loop_run(&session->loop);
    ae_loop_clear(&session->loop);
  }
  ae__client_close(session->client);
  session->client = NULL;
  session->looping = false;
  ae_config_clear(&session->config);
  ae_error_clear(&session->why);
  ae_error_clear(&session->err);
}
