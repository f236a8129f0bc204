/* An HTTP connection without a socket: what a client sends is a string, what
 * it gets is a string, and it takes as much as the test says. */
#ifndef AE_TEST_DOOR_HTTP_WIRE_H
#define AE_TEST_DOOR_HTTP_WIRE_H

#include "door/http/server.h"

typedef struct http_wire {
  ae__connection connection;
  ae_buf got;     /* what the client took */
  ae_buf waiting; /* of `write` */
  size_t room;    /* what it takes until it is given more */
  bool reading, shut, closed, reset;
} http_wire;

/* A server of these routes on `loop`, without a listener. */
void http_wire_server(ae__http *http, ae_loop *loop,
                      const ae__route *const *routes,
                      const ae__http_limits *limits);
void http_wire_server_clear(ae__http *http);

/* A client on this machine that takes all it gets. */
void http_wire_open(http_wire *wire, ae__http *http);
/* Sends what the server reads of it, turn by turn; false: it does not read. */
bool http_wire_send(http_wire *wire, const void *bytes, size_t len);
void http_wire_eof(http_wire *wire);
/* The client takes `bytes` more. */
void http_wire_take(http_wire *wire, size_t bytes);
/* Turns of the loop until nothing is to be done. */
void http_wire_run(ae__http *http);
/* Cuts it where it is open; frees what it holds. */
void http_wire_clear(http_wire *wire);

#endif
