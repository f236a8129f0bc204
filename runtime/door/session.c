#include "door/session.h"

#include "door/terminal.h"

/* There is no node that could be asked (API.md): say whose store this is. */
static void say_own_store(const ae__session *session) {
  if (session->config.store_source != AE_SETTING_FLAG)
    ae__say("no node asked; reading the app's own store, %s",
            session->config.store);
}

int ae__session_open(ae__session *session, const ae__args *args,
                     ae__session_for purpose) {
  memset(session, 0, sizeof *session);
  session->args = args;
  ae_error *err = &session->err;
  ae_status status = ae__args_config(args, &session->config, err);
  if (status == AE_OK) status = ae_loop_init(&session->loop, err);
  if (status != AE_OK) {
    ae_config_clear(&session->config);
    return ae__complain(args, err);
  }
  bool writes = purpose >= AE__RUN_COMMANDS;
  const ae_node_options options = {
      .config = &session->config,
      .modules = purpose == AE__READ_ACTORS || purpose == AE__RUN_COMMANDS,
      .store = true,
      .mode = writes ? AE_STORE_WRITE : AE_STORE_READ,
  };
  if (purpose == AE__CHANGE_STORE)
    status = ae_config_has_store(&session->config, err);
  if (status == AE_OK)
    status = ae_node_open(&session->loop, &options, &session->node, err);
  if (status != AE_OK) {
    int exit = ae__complain(args, err);
    ae__session_clear(session);
    return exit;
  }
  if (!writes) say_own_store(session);
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
  ae_loop_run(&session->loop);
  ae_loop_clear(&session->loop);
  ae_config_clear(&session->config);
  ae_error_clear(&session->err);
}
