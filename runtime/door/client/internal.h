/* What client.c and where.c share. */
#ifndef AE_DOOR_CLIENT_INTERNAL_H
#define AE_DOOR_CLIENT_INTERNAL_H

#include "door/client/client.h"
#include "door/client/curl.h"
#include "door/lines.h"

struct ae__client {
  char *url; /* without a slash at its end */
  CURLM *multi;
  CURL *easy; /* the options of a call; reset before each */
  struct curl_slist *headers;
  char *ca, *certificate, *key; /* files; NULL: none */
  char *pin;     /* "sha256//…": of the app's own certificate; NULL: names and
                    signatures are checked instead */
  int wakes[2];  /* a pipe: a signal came */
  bool watching; /* signals are ours */
  bool interrupted;
  /* Of the call that goes on. */
  ae__call *call;
  ae__lines lines;
  long http;      /* status of the answer */
  ae_buf body;    /* of an answer that is none of 200 */
  bool waiting;   /* `pull` has nothing now */
  uint64_t since; /* ns, monotonic: it has had nothing */
  char mark[64];  /* Aether-App of the last answer */
  char problem[CURL_ERROR_SIZE];
};

/* Where to ask is known, nothing was asked. */
ae__client *ae__client_new(char *url);

#endif
