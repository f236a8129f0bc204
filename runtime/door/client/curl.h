/* libcurl, loaded when a subcommand first talks to a node: with all that it
 * brings along it costs 10 ms and some MB, which a node and the subcommands
 * that work on a store shall not pay. */
#ifndef AE_DOOR_CLIENT_CURL_H
#define AE_DOOR_CLIENT_CURL_H

#define CURL_DISABLE_TYPECHECK /* its macros hide the functions */
#include <curl/curl.h>

#include "base/status.h"

#define AE__CURL_FUNCTIONS(X) \
  X(global_init)              \
  X(easy_init)                \
  X(easy_cleanup)             \
  X(easy_reset)               \
  X(easy_setopt)              \
  X(easy_getinfo)             \
  X(easy_pause)               \
  X(easy_strerror)            \
  X(multi_init)               \
  X(multi_cleanup)            \
  X(multi_add_handle)         \
  X(multi_remove_handle)      \
  X(multi_perform)            \
  X(multi_poll)               \
  X(multi_info_read)          \
  X(slist_append)             \
  X(slist_free_all)

typedef struct ae__curl_library {
#define X(name) __typeof__(&curl_##name) name;
  AE__CURL_FUNCTIONS(X)
#undef X
} ae__curl_library;

/* Its functions, once ae__curl_load has succeeded. */
extern ae__curl_library ae__curl;
/* AE_NOT_FOUND: it is not installed. */
ae_status ae__curl_load(ae_error *err);

#endif
