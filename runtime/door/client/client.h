/* HTTP to a node, for subcommands: one call at a time, the caller waits.
 *
 * Ctrl-C (SIGINT, SIGTERM) ends what is waited for, with AE_CANCELED; a second
 * one ends the process. The token (AETHER_TOKEN) goes nowhere but to the node,
 * and no proxy of the environment stands in between. */
#ifndef AE_DOOR_CLIENT_CLIENT_H
#define AE_DOOR_CLIENT_CLIENT_H

#include <sys/types.h>

#include "door/subcommand.h"

typedef struct ae__client ae__client;

/* Where a node may be: the flag --url, the variable AETHER_URL, or the app's
 * `listen`. With the latter it must be a node of the same app or on the same
 * store (mark.h), and its certificate the app's own; else it is as if none
 * answered. An address that a person named is checked as any web server's
 * (AETHER_CA: a file of who signs, besides those of the system). A node that
 * wants certificates gets that of AETHER_CERTIFICATE and AETHER_KEY.
 *
 * AE_UNREACHABLE: no node answers there, and `err` says why; `*named`: a
 * person named the address, so that nothing else will do in its place. */
ae_status ae__client_open(const ae__args *args, const ae_config *config,
                          ae__client **out, bool *named, ae_error *err);
void ae__client_close(ae__client *client); /* NULL is harmless */
/* "http://127.0.0.1:7070". */
const char *ae__client_url(const ae__client *client);

#define AE__PULL_WAIT (-1)

typedef struct ae__call {
  bool post;        /* else GET */
  const char *path; /* with its query, behind the URL */
  ae_str body;
  const char *type; /* of the body; NULL: none */
  /* The body in pieces, in its place: at most `room` bytes; 0: its end;
   * AE__PULL_WAIT: nothing now, ask again when `pull_fd` can be read, or in
   * some seconds. */
  ssize_t (*pull)(void *data, char *to, size_t room);
  int pull_fd;
  bool endless; /* the answer takes as long as it takes */
  /* Each line of an answer with status 200, without its newline; false:
   * enough, the call ends with AE_OK. NULL: `answer` gets it whole. */
  bool (*line)(void *data, ae_str line);
  /* Behind the lines that came together; false: as above. May be NULL. */
  bool (*flush)(void *data);
  void *data;
  ae_buf answer; /* the caller's to clear */
  bool begun;    /* out: an answer with status 200 began */
  bool enough;   /* out: `line` said so */
  bool sent;     /* out: some of the request was */
} ae__call;

/* AE_OK: answered with 200, and whole. AE_UNREACHABLE: not answered, or not to
 * the end; what was asked may have happened. AE_CANCELED: interrupted. Else
 * what the node's problem document says. */
ae_status ae__client_call(ae__client *client, ae__call *call, ae_error *err);
/* Sleeps; false: interrupted. */
bool ae__client_sleep(ae__client *client, unsigned ms);
bool ae__client_interrupted(const ae__client *client);

/* Asks for an answer that goes on: again and again, with a pause that grows,
 * where the node went away behind a first answer that began; stderr tells. The
 * path is asked for each time, so that it can say from where to go on. Ends
 * with AE_OK when `line` has enough, with AE_CANCELED, or with an error that
 * asking again would not mend. */
typedef struct ae__follow {
  ae__call call; /* `line` and `data` are the caller's */
  /* The path to ask for now; valid until the next. */
  const char *(*path)(void *data);
  const char *missed; /* to be said with each outage; NULL: nothing */
} ae__follow;
ae_status ae__client_follow(ae__client *client, ae__follow *follow,
                            ae_error *err);

/* One segment of a path, percent-encoded, appended. */
void ae__client_segment(ae_buf *out, ae_str text);
/* A problem document, or the "error" of an outcome: packed as msgpack. `key`:
 * where the message is ("detail", "message"). False: it is none. */
bool ae__client_problem(ae_str packed, const char *key, ae_error *err);

#endif
