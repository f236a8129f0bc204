/* What somebody may do, and in which namespaces. */
#ifndef AE_NAMESPACE_GRANT_H
#define AE_NAMESPACE_GRANT_H

#include "base/status.h"

typedef enum ae_right {
  AE_RIGHT_COMMAND = 1, /* send commands */
  AE_RIGHT_READ = 2,    /* states, histories, rows */
  AE_RIGHT_LISTEN = 4,  /* the bus */
  AE_RIGHT_ADMIN = 8,   /* what the command line asks of a node */
} ae_right;
#define AE_RIGHTS_ALL 15u

typedef struct ae_grant {
  const char *name;        /* whose it is, for logs */
  unsigned rights;         /* ae_right, or-ed */
  const char **namespaces; /* patterns (pattern.h), checked before */
  size_t namespace_count;  /* 0 with `all`: not looked at */
  bool all;                /* every namespace, wildcards too: a person on the
                              same machine */
  const char **wildcards;  /* patterns that may be subscribed to, `grants` */
  size_t wildcard_count;
} ae_grant;

/* "command", "read", "listen", "admin"; 0 for no right. */
unsigned ae_right_of(ae_str word);
const char *ae_right_word(ae_right right);

/* Whether it holds `right` in the namespace of that exact name. */
bool ae_grant_allows(const ae_grant *grant, ae_right right, ae_str ns);
/* AE_OK where it may subscribe to `pattern`, which was checked before: an
 * exact name needs AE_RIGHT_LISTEN there; one with wildcards must stand in
 * `wildcards`, or below one of them. Else AE_FORBIDDEN with `needs`. */
ae_status ae_grant_subscribe(const ae_grant *grant, ae_str pattern,
                             ae_error *err);

#endif
