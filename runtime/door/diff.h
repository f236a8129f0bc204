/* What changed between two states, path by path. */
#ifndef AE_DOOR_DIFF_H
#define AE_DOOR_DIFF_H

#include "base/buf.h"

/* One change. `before` or `after` of len 0: it was not there. `path` is dotted
 * ("items[2].name"); "" is the whole value. */
typedef void (*ae__diff_cb)(void *data, ae_str path, ae_str before,
                            ae_str after);
/* Calls back for each difference of two valid msgpack values, in the order of
 * keys in `before`, then new ones. */
void ae__diff(ae_str before, ae_str after, ae__diff_cb cb, void *data);

/* The changes as one msgpack array of {path, before, after} appended. */
void ae__diff_pack(ae_str before, ae_str after, ae_buf *out);
/* A line for each: "  balance: 5 → 12"; nothing for no change. */
void ae__diff_text(ae_str before, ae_str after, const char *indent,
                   ae_buf *out);

#endif
