/* What the parts of the HTTP door share: the server, a connection, and the
 * wire below it (a socket, or a test's memory).
 *
 * A connection:
 *
 *            first byte          head whole           request whole
 *     IDLE ────────────► HEAD ──────────────► BODY ──────────────► BUSY
 *      ▲  ╲               │ refused            │ refused             │
 *      │   ╲ EOF, idle    ▼                    ▼                     ▼
 *      │    ╲         (answered) ────────► answered whole, `gone` was called
 *      │     ▼                                 │               │
 *      │    CLOSED ◄── EOF, deadline ── LINGER ◄┘ closes        │ keeps on
 *      └────────────────────────────────────────────────────────┘
 *
 *   reading     read cb → ae__connection_read → feed → ae__request_*
 *   answering   functions of exchange.h append to `out` and mark
 *   once a turn marked connections: finish, feed what was kept, send
 *
 * Invariants
 *  1. A request is there exactly in HEAD, BODY and BUSY.
 *  2. `gone` follows `start`, once, from a turn, a read or a deadline, never
 *     from a function of exchange.h.
 *  3. `rest` holds what was read and not fed; while it holds something, nothing
 *     is read.
 *  4. In LINGER nothing is parsed: bytes are counted and dropped.
 *  5. Who closed a wire is called back once, later, and only then is freed. */
#ifndef AE_DOOR_HTTP_SERVER_H
#define AE_DOOR_HTTP_SERVER_H

#include "door/http/auth.h"
#include "door/http/http.h"
#include "door/http/request.h"

#define AE__READ_BYTES 65536 /* most that one read brings */
#define AE__OUT_FULL 262144  /* bytes waiting at which a route should stop */

typedef struct ae__connection ae__connection;
typedef struct ae__tls ae__tls; /* of one connection */
typedef struct ae__tls_shared ae__tls_shared;

/* Below a connection. */
typedef struct ae__wire {
  /* Bytes taken, perhaps 0; or libuv's error. */
  int (*try_write)(ae__connection *c, ae_str bytes);
  /* Takes them over time; then ae__connection_written. They stay until then. */
  int (*write)(ae__connection *c, ae_str bytes);
  size_t (*unwritten)(const ae__connection *c); /* of `write` */
  void (*read)(ae__connection *c, bool on);
  void (*shut)(ae__connection *c); /* our half, after what was written */
  /* Frees the connection, later. `reset`: what waits is thrown away. */
  void (*close)(ae__connection *c, bool reset);
} ae__wire;

typedef enum ae__phase {
  AE__IDLE,
  AE__HEAD,
  AE__BODY,
  AE__BUSY,
  AE__LINGER,
  AE__CLOSED,
} ae__phase;

/* What a connection waits for, each with its own time. */
typedef enum ae__due {
  AE__DUE_HEAD,
  AE__DUE_BODY,
  AE__DUE_IDLE,
  AE__DUE_LINGER,
  AE__DUE_SEND,
  AE__DUE_COUNT,
  AE__DUE_NOTHING = AE__DUE_COUNT,
} ae__due;

/* A place in the list of one kind: all in it wait equally long, so the first
 * is due first, and one timer serves all. */
typedef struct ae__deadline {
  ae_list link;
  uint64_t at; /* ms of the loop */
  uint8_t kind;
} ae__deadline;

struct ae__connection {
  ae__http *http;
  const ae__wire *wire;
  ae__tls *tls; /* NULL: plain */
  uint8_t phase;
  bool loopback;   /* the peer is */
  bool reading;    /* the wire was told so */
  bool marked;     /* in the list of this turn */
  bool keep;       /* go on after this exchange */
  bool eof;        /* the client has closed its half */
  bool broken;     /* nothing can be sent any more */
  bool goodbye;    /* TLS has said it */
  bool shut;       /* our half is closed */
  bool sending;    /* `wire->write` is under way */
  size_t unsent;   /* when we last looked how far it is */
  size_t lingered; /* bytes dropped */
  ae__request *request;
  ae_buf rest; /* read and not fed, from rest_at */
  size_t rest_at;
  ae_buf out;  /* not yet given to the wire; plain, where TLS comes between */
  ae_buf sent; /* given to `wire->write` */
  ae__deadline due, send_due;
  ae_list link; /* all connections */
  ae_list mark;
};

struct ae__http {
  ae_loop *loop;
  ae_node *node;
  ae__http_limits limits;
  const ae__route *const *routes;
  ae__auth *auth;
  ae__tls_shared *tls; /* NULL: plain */
  struct ae__listener *listener;
  char *url;
  bool draining;
  bool closing;
  unsigned tick_ms; /* between looks at deadlines */
  ae_list connections;
  ae_list marks; /* for this turn */
  ae_task turn;
  bool turning; /* `turn` is deferred */
  ae_list dues[AE__DUE_COUNT];
  ae_list spares; /* requests without a connection */
  unsigned spare_count;
  size_t body_bytes; /* of whole bodies being taken, and of those in use */
  ae_buf nowhere;    /* where the body of an answer to HEAD goes */
  char *read_bytes;  /* AE__READ_BYTES: one read at a time */
  time_t date_at;    /* what `date` says */
  char date[80];     /* "Mon, 23 Nov 2026 12:00:00 GMT" */
  ae__http_counts counts;
  ae__route_counts *tally; /* requests without a route, then by route */
  size_t tally_count;
  void (*closed)(void *data);
  void *closed_data;
};

/* -- http.c -- */
/* The server without its sockets: what a test's wire needs. */
void ae__http_init(ae__http *http, const ae__http_options *options);
/* All connections must be closed. */
void ae__http_clear(ae__http *http);
/* Brings `date` up to date. */
void ae__http_date(ae__http *http);
/* A handle is closed: frees the server with the last one. */
void ae__http_let_go(ae__http *http);

/* -- connection.c -- */
/* In the wire's memory, zeroed. */
void ae__connection_open(ae__connection *c, ae__http *http,
                         const ae__wire *wire, bool loopback);
/* Answers 503 and closes: there are too many. */
void ae__connection_turn_away(ae__connection *c);
void ae__connection_read(ae__connection *c, ae_str bytes);
/* What TLS made of them. */
void ae__connection_plain(ae__connection *c, ae_str bytes);
void ae__connection_eof(ae__connection *c);
void ae__connection_written(ae__connection *c, int status);
/* Ends it now; `gone` is called where it is owed. */
void ae__connection_cut(ae__connection *c);
/* Runs it in this turn of the loop. */
void ae__connection_mark(ae__connection *c);
/* The node drains: ends what is idle, and endless answers. */
void ae__connection_drain(ae__connection *c);
/* Its buffers; by the wire, when it is closed. */
void ae__connection_clear(ae__connection *c);
/* Runs those that are marked: what the turn does. */
void ae__connection_run(ae__http *http);

/* -- deadline.c -- */
void ae__deadline_init(ae__http *http);
void ae__deadline_set(ae__connection *c, ae__due kind);
void ae__deadline_sending(ae__connection *c, bool on);
/* Ends what is overdue at `now`, ms of the loop. */
void ae__deadline_tick(ae__http *http, uint64_t now);

/* -- output.c -- */
/* Gives what waits to the wire. False: broken. */
bool ae__output_send(ae__connection *c);
size_t ae__output_waiting(const ae__connection *c);

/* -- exchange.c -- */
/* An answer for what never came to a route; the connection ends after it. */
void ae__exchange_deny(ae__request *r, int status, const ae_error *err);
/* Ends an answer that has no end of its own. */
void ae__exchange_stop(ae__request *r);
/* So that the bytes can be sent. */
void ae__exchange_close_chunk(ae__request *r);
const char *ae__http_phrase(int status);

/* -- route.c -- */
extern const ae__route *const ae__routes_all[];
const ae__route *ae__route_find_in(const ae__route *const *tables,
                                   ae__method method, const ae_str *segments,
                                   unsigned count, const char **allowed);

/* -- tally.c -- */
void ae__tally_init(ae__http *http);
/* An answer begins; `route` NULL: for what came to none. */
void ae__tally_add(ae__http *http, const ae__route *route, int status);

/* -- tcp.c -- */
ae_status ae__tcp_resolve(const char *listen, struct sockaddr_storage *out,
                          ae_error *err);
/* Binds and listens; fills http->url. */
ae_status ae__tcp_listen(ae__http *http, const char *listen,
                         const struct sockaddr_storage *address, ae_error *err);
void ae__tcp_stop_listening(ae__http *http);
void ae__tcp_close(ae__http *http);
bool ae__tcp_gone(const ae__http *http); /* no handle is left */
void ae__tcp_free(ae__http *http);

#endif
