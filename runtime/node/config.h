/* The settings of an app: from flags, then AETHER_<KEY> variables, then
 * aether.lua, then defaults, each with where it came from. */
#ifndef AE_NODE_CONFIG_H
#define AE_NODE_CONFIG_H

#include "base/log.h"
#include "base/status.h"
#include "namespace/grant.h"

typedef enum ae_setting_source {
  AE_SETTING_DEFAULT,
  AE_SETTING_FILE,     /* aether.lua */
  AE_SETTING_VARIABLE, /* AETHER_<KEY> */
  AE_SETTING_FLAG,
} ae_setting_source;

/* One setting as it holds, for showing. */
typedef struct ae_setting {
  char *key;    /* dotted: "namespaces.bank.limits.memory_mb" */
  ae_buf value; /* msgpack; nil: not set; what is secret is the word "hidden" */
  ae_setting_source source;
  char *where; /* "--store", "AETHER_STORE", "aether.lua", "default" */
} ae_setting;

typedef struct ae_namespace_config {
  char *name;
  char *folder;              /* of its modules, absolute */
  double handler_ms;         /* CPU time that a handler may take */
  unsigned quarantine_after; /* stops in a row */
  size_t memory;             /* bytes */
  size_t live_actors;
  double commands_per_s;    /* 0: no limit */
  double events_per_s;      /* 0: no limit */
  uint64_t bytes;           /* of stored records; 0: no limit */
  char *retry;              /* policy; NULL: not named */
  uint64_t retention_days;  /* 0: for ever */
  uint64_t retention_bytes; /* 0: no limit */
} ae_namespace_config;

#define AE_TOKEN_HASH 32 /* bytes of SHA-256 */

/* Who may do what at the doors: `tokens`, with what `grants` adds. */
typedef struct ae_token {
  ae_grant grant;
  uint8_t hash[AE_TOKEN_HASH]; /* of the token's text */
} ae_token;

/* How to log in to nats-server; NULL: not so. Files are paths as they stand. */
typedef struct ae_nats_config {
  char *credentials, *nkey; /* files */
  char *user, *password, *token;
  bool tls;                     /* demanded */
  char *ca, *certificate, *key; /* files */
} ae_nats_config;

typedef struct ae_config {
  char *app;   /* its folder, absolute */
  char *file;  /* aether.lua, absolute; NULL: there is none */
  char *store; /* URL; paths in aether.lua are made absolute */
  ae_setting_source store_source;
  char *data;   /* folder */
  char *node;   /* name */
  char *listen; /* HOST:PORT */
  ae_nats_config nats;
  unsigned replicas; /* of streams that are made */
  ae_log_level log;
  uint32_t judge_actors;           /* that a reload replays */
  ae_namespace_config *namespaces; /* in the order of their names */
  size_t namespace_count;
  ae_token *tokens; /* in the order written */
  size_t token_count;
  ae_setting *settings; /* all of them, by key */
  size_t setting_count;
} ae_config;

/* A setting given as a flag; `value` NULL: not given. */
typedef struct ae_config_flag {
  const char *key;
  const char *value;
} ae_config_flag;

/* `app`: the folder, NULL: the current one. `flags` ends with key NULL.
 * AE_USAGE for a flag, a variable or a folder that makes no sense,
 * AE_MALFORMED or what ae_script_settings says for aether.lua. The caller
 * clears `out` also after a failure. */
ae_status ae_config_load(const char *app, const ae_config_flag *flags,
                         ae_config *out, ae_error *err);
void ae_config_clear(ae_config *config);
/* A setting's text ("tls.key"); NULL: not set. Owned by the caller. */
char *ae_config_text(const ae_config *config, const char *key);
/* Of a whole number; 0: not set. */
uint64_t ae_config_uint(const ae_config *config, const char *key);
/* AE_OK where the app has a namespace, else AE_NOT_FOUND saying what to do. */
ae_status ae_config_has_modules(const ae_config *config, ae_error *err);
/* The namespace, or AE_UNKNOWN_NAMESPACE with `name` and `nearest`. */
ae_status ae_config_namespace(const ae_config *config, ae_str name,
                              const ae_namespace_config **out, ae_error *err);

/* AE_MALFORMED saying what is one. */
ae_status ae_token_name_check(ae_str text, ae_error *err);
ae_status ae_right_check(ae_str text, ae_error *err);

/* Calls back for each variable AETHER_… that is no setting, with the nearest
 * (or ""). */
void ae_config_strays(void (*cb)(void *data, const char *name,
                                 const char *nearest),
                      void *data);

/* The file of a "sqlite:FILE" URL, NULL for others. */
const char *ae_store_file(const char *url);
/* AE_STORE_UNAVAILABLE where the store's file is not there yet. */
ae_status ae_config_has_store(const ae_config *config, ae_error *err);
/* Makes the folders of the app's own store; one that a flag or a variable names
 * must be there. What is wrong, the store will say. */
void ae_config_make_folders(const ae_config *config);

#endif
