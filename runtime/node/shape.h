/* What a value of aether.lua must look like: tables of shapes, checked before
 * anything is taken from a setting. */
#ifndef AE_NODE_SHAPE_H
#define AE_NODE_SHAPE_H

#include "base/status.h"

typedef enum ae__kind {
  AE__STRING,
  AE__INTEGER, /* min..max */
  AE__NUMBER,  /* above min, up to max */
  AE__RECORD,  /* `fields`, and no other key */
  AE__MAP,     /* any names, each with the shape fields[0] */
  AE__LIST,    /* each with the shape fields[0] */
} ae__kind;

typedef struct ae__shape ae__shape;
struct ae__shape {
  const char *key; /* NULL: end of a record's fields */
  ae__kind kind;
  double min, max;
  const ae__shape *fields;
  /* Says whether a string (or a map's key, for AE__MAP) is right; NULL: any
   * that is not empty. */
  ae_status (*check)(ae_str text, ae_error *err);
  bool path;   /* relative to where it was written */
  bool secret; /* not shown */
};

/* `value` is msgpack. AE_MALFORMED with a message that begins with `path`. */
ae_status ae__shape_check(const ae__shape *shape, const char *path,
                          ae_str value, ae_error *err);
/* The field of a record's shape; NULL and `nearest` (or "") for none. */
const ae__shape *ae__shape_field(const ae__shape *fields, ae_str key,
                                 ae_str *nearest);
/* What a person wrote in a variable or a flag, as msgpack: strings as they
 * stand, all else as JSON. AE_MALFORMED where it is neither. */
ae_status ae__shape_parse(const ae__shape *shape, const char *path,
                          const char *text, ae_buf *out, ae_error *err);

/* All keys of aether.lua. */
extern const ae__shape ae__settings[];
extern const ae__shape ae__namespace_fields[];

#endif
