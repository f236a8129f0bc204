/* One table of subcommands: parsing, `--help` and `aether help` come from it.
 */
#ifndef AE_DOOR_SUBCOMMAND_H
#define AE_DOOR_SUBCOMMAND_H

#include <stdio.h>

#include "base/status.h"
#include "node/config.h"

#define AE__FLAGS_MAX 12

typedef struct ae__flag {
  const char *name; /* without dashes; NULL: the end */
  char letter;      /* 0: none */
  const char *arg;  /* what stands behind it; NULL: nothing */
  const char *text; /* for --help */
} ae__flag;

typedef struct ae__args ae__args;

typedef struct ae__subcommand {
  const char *name;
  const char *group;   /* what a person wants to do */
  const char *summary; /* one line */
  const char *usage;   /* what stands behind the name */
  ae__flag flags[AE__FLAGS_MAX];
  const char *details; /* further lines of --help, may be NULL */
  const char *example; /* a command line that works */
  int least, most;     /* arguments; most < 0: any number */
  bool passes_on;      /* what is not understood goes on to another program */
  int (*run)(const ae__args *args); /* the exit status */
} ae__subcommand;

/* What stood on the command line. Points into argv. */
struct ae__args {
  const ae__subcommand *of;
  const char *values[AE__FLAGS_MAX]; /* as in of->flags; NULL: not given */
  const char *app;                   /* -C; NULL: not given */
  char **rest;                       /* arguments that are no flags */
  int count;
};

/* Ends with name NULL. */
extern const ae__subcommand ae__subcommands[];
/* NULL and the nearest (or "") for none of that name. */
const ae__subcommand *ae__subcommand_find(const char *name,
                                          const char **nearest);

/* `args->rest` must have room for argc pointers. AE_USAGE says what is wrong.
 * `*help`: --help was among them. */
ae_status ae__args_parse(ae__args *args, int argc, char **argv, bool *help,
                         ae_error *err);
/* What stood behind a flag ("" for one that takes nothing); NULL: not given.
 * The flag must be one of the subcommand. */
const char *ae__args_get(const ae__args *args, const char *name);
bool ae__args_json(const ae__args *args);
/* A whole number from `least` to `most`, or `fallback` where the flag was not
 * given. AE_USAGE for anything else. */
ae_status ae__args_uint(const ae__args *args, const char *name, uint64_t least,
                        uint64_t most, uint64_t fallback, uint64_t *out,
                        ae_error *err);
/* The app's settings, with --store, --listen and --node over them; sets up the
 * log. */
ae_status ae__args_config(const ae__args *args, ae_config *out, ae_error *err);

/* Help. */
void ae__help_all(FILE *out);
void ae__help_one(FILE *out, const ae__subcommand *subcommand);

int ae__backup_run(const ae__args *args);
int ae__bench_run(const ae__args *args);
int ae__check_run(const ae__args *args);
int ae__config_run(const ae__args *args);
int ae__dev_run(const ae__args *args);
int ae__delete_run(const ae__args *args);
int ae__doctor_run(const ae__args *args);
int ae__events_run(const ae__args *args);
int ae__export_run(const ae__args *args);
int ae__exec_run(const ae__args *args);
int ae__help_run(const ae__args *args);
int ae__import_run(const ae__args *args);
int ae__listen_run(const ae__args *args);
int ae__new_run(const ae__args *args);
int ae__permissions_run(const ae__args *args);
int ae__repair_run(const ae__args *args);
int ae__repl_run(const ae__args *args);
int ae__reload_run(const ae__args *args);
int ae__revisions_run(const ae__args *args);
int ae__rollback_run(const ae__args *args);
int ae__replay_run(const ae__args *args);
int ae__restore_run(const ae__args *args);
int ae__run_run(const ae__args *args);
int ae__send_run(const ae__args *args);
int ae__state_run(const ae__args *args);
int ae__status_run(const ae__args *args);
int ae__test_run(const ae__args *args);
int ae__token_run(const ae__args *args);
int ae__version_run(const ae__args *args);

#endif
