/* What the JetStream backend asks of nats-server, as subjects: for permissions.
 * A call that is added to the backend is added here. */
#include "base/buf.h"
#include "namespace/encode.h"
#include "store/backend/jetstream.h"

static const char *const calls[] = {
    "STREAM.INFO",    "STREAM.CREATE",     "STREAM.DELETE",
    "STREAM.MSG.GET", "STREAM.MSG.DELETE", "CONSUMER.CREATE",
};
static const char *const kinds[] = {"log", "snapshots", "bases"};
static const char *const streams[] = {"events", "snapshots"};

#define COUNT(array) (sizeof(array) / sizeof *(array))

void ae_store_subjects(ae_str ns, void (*each)(void *data, const char *subject),
                       void *data) {
  ae_buf subject = {0}, token = {0};
  ae_encode(ns, &token);
  for (size_t i = 0; i < COUNT(kinds); i++) {
    ae_buf_reset(&subject);
    ae__js_subject(&subject, kinds[i], &(ae_ref){.ns = ns});
    each(data, ae_buf_cstr(&subject));
  }
  for (size_t i = 0; i < COUNT(streams); i++) {
    for (size_t k = 0; k < COUNT(calls); k++) {
      ae_buf_reset(&subject);
      ae_buf_printf(&subject, "$JS.API.%s.%s_%s", calls[k], ae_buf_cstr(&token),
                    streams[i]);
      each(data, ae_buf_cstr(&subject));
    }
    ae_buf_reset(&subject);
    ae_buf_printf(&subject, "$JS.API.CONSUMER.MSG.NEXT.%s_%s.*",
                  ae_buf_cstr(&token), streams[i]);
    each(data, ae_buf_cstr(&subject));
  }
  each(data, "$JS.API.STREAM.NAMES"); /* of the account, for all namespaces */
  ae_buf_clear(&subject);
  ae_buf_clear(&token);
}
