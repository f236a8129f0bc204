/* The one NATS connection of a node, on its loop.
 *
 * nats.c connects and reconnects (for ever, with back-off) on threads of its
 * own; everything else happens on the loop thread, without a hop: the socket
 * is polled by the loop, what came is parsed and handed out in the same turn,
 * and what is sent in one turn goes out together at its end.
 *
 *                 ae_wire_open
 *                      │ connected
 *                      ▼      connection lost
 *        close ◄── CONNECTED ───────────────► RECONNECTING ──► close
 *                      ▲  attached to the loop      │
 *                      └────────────────────────────┘
 *
 *   transition                  function
 *   → CONNECTED (first)         ae_wire_open
 *   CONNECTED → RECONNECTING    lost (posted by nats.c's thread)
 *   RECONNECTING → CONNECTED    attached (posted likewise)
 *   RECONNECTING → RECONNECTING reopen: nats.c gave up, its login refused twice
 *   → closed                    ae_wire_close
 *
 * Invariants
 * 1. Callbacks run on the loop thread only, and none after close called back.
 * 2. A request ends exactly once: with its answer, its time, a lost connection
 *    or close.
 * 3. Nothing is published while not CONNECTED: who asks is told at once, so
 *    that nothing old is sent behind his back after a reconnect. */
#ifndef AE_WIRE_NATS_H
#define AE_WIRE_NATS_H

#include "base/list.h"
#include "loop/loop.h"

typedef struct ae_wire ae_wire;
typedef struct ae_wire_subscription ae_wire_subscription;

typedef struct ae_wire_info {
  bool connected;
  unsigned version[3]; /* of the server: 2, 9, 10 */
  char server[128];    /* its URL, without user and password */
  char id[64];         /* its id */
  size_t max_payload;  /* bytes of headers and body of one message */
  bool bare; /* it said that it has no JetStream, and is in no cluster; false
                after a reconnect: not asked again */
  uint64_t reconnects;
  uint64_t messages_in, messages_out, bytes_in, bytes_out;
  char trouble[256]; /* what the connection was lost for; "" for nothing */
} ae_wire_info;

typedef struct ae_wire_options {
  const char *url;  /* nats://HOST:PORT, several parted by commas; tls:// too */
  const char *name; /* shown in the server's list of connections */
  /* Each may be NULL. */
  const char *credentials; /* file of a JWT and its key */
  const char *nkey;        /* file with an NKey seed */
  const char *user, *password;
  const char *token;
  bool tls;                           /* demanded, also with nats:// */
  const char *ca, *certificate, *key; /* files */
  unsigned connect_ms;                /* for one server; 0: 2000 */
  /* The connection was lost, or is back; info tells. May be NULL. */
  void (*changed)(void *data, const ae_wire_info *info);
  void *data;
} ae_wire_options;

/* Connects; blocks for as long as that takes (a start has nothing else to do).
 * While it is open, ae_loop_run goes on.
 * AE_STORE_UNAVAILABLE with `cause` and what to do where no server is reached
 * or none lets us in; AE_USAGE for a URL or a file that makes no sense. */
ae_status ae_wire_open(ae_loop *loop, const ae_wire_options *options,
                       ae_wire **out, ae_error *err);
/* What was published before is sent, requests end with AE_CANCELED, then `cb`,
 * then it is gone. Subscriptions must be ended. */
void ae_wire_close(ae_wire *wire, void (*cb)(void *data), void *data);

void ae_wire_info_get(ae_wire *wire, ae_wire_info *out);
bool ae_wire_connected(const ae_wire *wire); /* CONNECTED */
size_t ae_wire_max_payload(const ae_wire *wire);
static inline bool ae_wire_at_least(const ae_wire_info *info, unsigned major,
                                    unsigned minor, unsigned patch) {
  if (info->version[0] != major) return info->version[0] > major;
  if (info->version[1] != minor) return info->version[1] > minor;
  return info->version[2] >= patch;
}

/* A header of a message. C strings. */
typedef struct ae_wire_header {
  const char *key;
  const char *value;
} ae_wire_header;

/* A message that came. Slices live until the callback returns. */
typedef struct ae_wire_message {
  const char *subject;
  const char *reply; /* NULL: none */
  ae_str body;
  ae_str headers; /* private, as is */
  void *impl;
} ae_wire_message;
/* NULL: not there. Lives as long as the message. */
const char *ae_wire_message_header(const ae_wire_message *message,
                                   const char *key);

/* What the server says in place of a message: 408, 503 …; 0: it is one. */
unsigned ae_wire_message_status(const ae_wire_message *message);

/* Headers end with key NULL, or are NULL. `reply` may be NULL. Copied.
 * AE_STORE_UNAVAILABLE while not connected, AE_TOO_LARGE with `limit` above
 * the server's, AE_INVALID_NAME for a subject that is none. */
ae_status ae_wire_publish(ae_wire *wire, const char *subject, const char *reply,
                          const ae_wire_header *headers, ae_str body,
                          ae_error *err);

/* A request and its first answer. The caller's memory, zeroed before use, kept
 * until the callback. */
typedef struct ae_wire_request ae_wire_request;
struct ae_wire_request {
  unsigned timeout_ms; /* 0: 5000 */
  /* AE_OK with the answer; AE_STORE_UNCERTAIN: no answer in time, or the
   * connection was lost: it may have taken effect; AE_CANCELED: closed. (That
   * nobody is there to answer shows as no answer: nats.c 3.4 does not say
   * which request the server's "no responders" is for.) */
  void (*cb)(ae_wire_request *request, ae_status status,
             const ae_wire_message *answer);
  void *data;
  /* private */
  ae_list link;
  uint64_t serial;
  uint64_t deadline; /* ms, the loop's time */
};
/* Fails like ae_wire_publish, and the callback never runs then. */
ae_status ae_wire_ask(ae_wire *wire, ae_wire_request *request,
                      const char *subject, const ae_wire_header *headers,
                      ae_str body, ae_error *err);

typedef void (*ae_wire_cb)(void *data, const ae_wire_message *message);
/* `queue`: of several subscribers with this name one gets each message; NULL:
 * none. Comes back by itself after a reconnect; what was published meanwhile
 * did not come. */
ae_status ae_wire_subscribe(ae_wire *wire, const char *subject,
                            const char *queue, ae_wire_cb cb, void *data,
                            ae_wire_subscription **out, ae_error *err);
/* No callback after it. May be called inside one. */
void ae_wire_unsubscribe(ae_wire_subscription *subscription);
/* A subject that nobody else has: _INBOX.… appended. */
void ae_wire_inbox(ae_wire *wire, ae_buf *out);

#endif
