/* The load of `aether bench http`: a client on a thread and a loop of its own,
 * over real sockets, that sends deposits to bank accounts and times each until
 * its outcome is there. It shares nothing with the server but the process. */
#ifndef AE_DOOR_BENCH_CLIENT_H
#define AE_DOOR_BENCH_CLIENT_H

#include "loop/loop.h"
#include "node/histogram.h"

typedef struct ae__bench_client ae__bench_client;

typedef struct ae__bench_client_options {
  const char *url;      /* "http://127.0.0.1:PORT" */
  unsigned connections; /* kept */
  bool lines;           /* of one NDJSON request on each, whose outcomes come
                           back meanwhile; else one command a request */
  unsigned in_flight;   /* commands on each; 1 without `lines` */
  uint32_t actors;      /* a-0 and so on, of the aggregate bank/account */
  double seconds;
  ae__histogram *histogram;
  bool (*stop)(void); /* asked now and then */
  ae_loop *loop;      /* to tell on that it is done */
  void (*done)(void *data);
  void *data;
} ae__bench_client_options;

/* `histogram` and `url` must live until _end. */
ae_status ae__bench_client_start(const ae__bench_client_options *options,
                                 ae__bench_client **out, ae_error *err);
/* After `done`: frees it. What it could not do, or a command that was not
 * accepted, is the error. */
ae_status ae__bench_client_end(ae__bench_client *client, ae_error *err);

#endif
