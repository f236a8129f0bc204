#include "base/mem.h"
#include "door/client/client.h"
#include "door/terminal.h"

#define PAUSE_LEAST 100 /* ms */
#define PAUSE_MOST 5000

/* Whether asking again later may help. */
static bool is_passing(ae_status status) {
  return status == AE_OK || status == AE_UNREACHABLE ||
         status == AE_OVERLOADED || status == AE_CANCELED ||
         ae_status_http(status) == 503;
}

ae_status ae__client_follow(ae__client *client, ae__follow *follow,
                            ae_error *err) {
  ae__call *call = &follow->call;
  unsigned pause = PAUSE_LEAST;
  bool away = false, ever = false;
  call->endless = true;
  for (;;) {
    call->path = follow->path(call->data);
    ae_status status = ae__client_call(client, call, err);
    if (status == AE_OK && call->enough) return AE_OK;
    if (ae__client_interrupted(client)) return AE_CANCELED;
    ever = ever || call->begun;
    if (!is_passing(status) || !ever) return status;
    if (call->begun) {
      away = false;
      pause = PAUSE_LEAST;
    }
    if (!away)
      ae__say("%s; asking again until it answers%s",
              status == AE_OK ? "the node ended its answer, as one that stops"
                              : ae_error_text(err),
              follow->missed ? follow->missed : "");
    away = true;
    ae_error_clear(err);
    if (!ae__client_sleep(client, pause)) return AE_CANCELED;
    pause = pause < PAUSE_MOST / 2 ? 2 * pause : PAUSE_MOST;
  }
}
