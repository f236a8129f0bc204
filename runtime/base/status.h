/* One table of everything that can go wrong, and what each door says of it.
 *
 * A function that can fail returns an `ae_status` and fills the `ae_error`
 * that its caller passes. Facts travel in the error, never in a global. */
#ifndef AE_BASE_STATUS_H
#define AE_BASE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* X(NAME, word at the doors and in Lua, HTTP status, exit status, text) */
#define AE_STATUS_MAP(X)                                                      \
  X(OK, "ok", 200, 0, "done")                                                 \
  X(REJECTED, "rejected", 422, 1, "the domain said no")                       \
  X(VERSION_CONFLICT, "version_conflict", 409, 1, "another writer was first") \
  X(ID_REUSED, "id_reused", 409, 1,                                           \
    "the same command id came with another command")                          \
  X(INVALID_COMMAND, "invalid_command", 400, 3,                               \
    "the data does not fit the command's schema")                             \
  X(MALFORMED, "malformed", 400, 3, "not understood")                         \
  X(INVALID_NAME, "invalid_name", 400, 3, "not a name")                       \
  X(TOO_LARGE, "too_large", 413, 3, "too much at once")                       \
  X(UNKNOWN_NAMESPACE, "unknown_namespace", 404, 3, "no such namespace")      \
  X(UNKNOWN_TYPE, "unknown_type", 404, 3, "no such aggregate")                \
  X(UNKNOWN_COMMAND, "unknown_command", 404, 3, "no such command")            \
  X(UNKNOWN_PROJECTION, "unknown_projection", 404, 3, "no such projection")   \
  X(SCRIPT_ERROR, "script_error", 500, 3, "a Lua error; nothing was stored")  \
  X(CONTRACT_ERROR, "contract_error", 500, 3,                                 \
    "a module breaks its contract; nothing was stored")                       \
  X(VALUE_ERROR, "value_error", 500, 3, "a value cannot be stored")           \
  X(SCRIPT_TIMEOUT, "script_timeout", 504, 3, "a handler took too long")      \
  X(SCRIPT_MEMORY, "script_memory", 507, 3,                                   \
    "a handler wanted too much memory")                                       \
  X(MODULE_QUARANTINED, "module_quarantined", 503, 3,                         \
    "the module was stopped too often in a row")                              \
  X(REPLAY_ERROR, "replay_error", 500, 3, "a stored record cannot be read")   \
  X(ACTOR_DAMAGED, "actor_damaged", 500, 3,                                   \
    "a stored record cannot be read; the actor is read-only")                 \
  X(HISTORY_TRIMMED, "history_trimmed", 410, 3, "retention removed it")       \
  X(NOT_OWNER, "not_owner", 503, 3, "another node owns the shard")            \
  X(NO_OWNER, "no_owner", 503, 3, "no node owns the shard")                   \
  X(STORE_UNAVAILABLE, "store_unavailable", 503, 3,                           \
    "the store cannot be used")                                               \
  X(STORE_FULL, "store_full", 503, 3, "the store has no room left")           \
  X(STORE_UNCERTAIN, "store_uncertain", 503, 3,                               \
    "the store's answer was lost; ask again with the same id")                \
  X(OVERLOADED, "overloaded", 429, 3, "too much is waiting")                  \
  X(UNAUTHENTICATED, "unauthenticated", 401, 3, "no valid token")             \
  X(FORBIDDEN, "forbidden", 403, 3, "the token lacks that right")             \
  /* Not seen at a door. */                                                   \
  X(USAGE, "usage", 400, 2, "wrong usage")                                    \
  X(NOT_FOUND, "not_found", 404, 3, "not there")                              \
  X(DUPLICATE, "duplicate", 200, 0, "stored before")                          \
  X(CANCELED, "canceled", 503, 3, "closed before it was done")                \
  X(UNREACHABLE, "unreachable", 503, 3, "no node answers")

typedef enum ae_status {
#define X(name, word, http, exit, text) AE_##name,
  AE_STATUS_MAP(X)
#undef X
      AE_STATUS_COUNT
} ae_status;

const char *ae_status_word(ae_status status);
const char *ae_status_text(ae_status status);
int ae_status_http(ae_status status);
int ae_status_exit(ae_status status);

/* What went wrong, with its facts. Zero-initialised it means "nothing".
 * The owner of the struct calls ae_error_clear, also after AE_OK. */
typedef struct ae_error {
  ae_status status;
  ae_buf message;  /* for a person: what, where, what to do; no newline end */
  ae_buf facts;    /* msgpack: key, value, key, value …; no map header */
  uint32_t nfacts; /* pairs in facts */
} ae_error;

void ae__error_free(ae_error *err);
static inline void ae_error_clear(ae_error *err) {
  /* Nearly always there is nothing. */
  if (err && (err->status != AE_OK || err->message.cap || err->facts.cap))
    ae__error_free(err);
}

/* Forget what `err` held, then set status and message. Returns `status`, so
 * that `return ae_error_set(err, AE_MALFORMED, …)` reads well. `err` may be
 * NULL in all of these: then only the status travels. */
ae_status ae_error_set(ae_error *err, ae_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Put more words behind the message. */
void ae_error_add(ae_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Put `text`, bytes from outside, behind the message: in single quotes, cut
 * where it is long, what would not print as itself as \xHH. */
void ae_error_quote(ae_error *err, ae_str text);
/* Facts: the fields that API.md lists for the code. */
void ae_error_str(ae_error *err, const char *key, ae_str value);
void ae_error_cstr(ae_error *err, const char *key, const char *value);
void ae_error_int(ae_error *err, const char *key, int64_t value);
void ae_error_uint(ae_error *err, const char *key, uint64_t value);
/* `value` is one whole msgpack value. */
void ae_error_pack(ae_error *err, const char *key, ae_str value);

/* Move: `to` is cleared and takes what `from` held; `from` becomes empty. */
void ae_error_move(ae_error *to, ae_error *from);
/* `to`, which may be NULL, forgets what it held. */
void ae_error_copy(ae_error *to, const ae_error *from);
/* Append one msgpack map to `out`: code, message, then the facts. */
void ae_error_render(const ae_error *err, ae_buf *out);
/* The message as a C string; "" for none. Valid until the next change. */
const char *ae_error_text(const ae_error *err);

#endif
