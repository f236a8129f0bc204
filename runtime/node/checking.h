/* Inside ae_check: whose history is replayed, through which code. check.c reads
 * the store, check_actor.c has the states. */
#ifndef AE_NODE_CHECKING_H
#define AE_NODE_CHECKING_H

#include "base/map.h"
#include "base/mem.h"
#include "node/check.h"
#include "node/internal.h"

/* What is checked, and the code that runs elsewhere (ae_check_rival). */
typedef enum ae__side { AE__NEW, AE__OLD, AE__SIDES } ae__side;

typedef struct ae__checked ae__checked;

/* A namespace, as the store knows it. */
typedef struct ae__check_realm {
  char *name;
  const ae_namespace_config *config;
  ae_script *scripts[AE__SIDES]; /* NULL: the app has no such namespace, or
                                    there is no rival, whose are ours */
  ae__checked *live[AE__SIDES];  /* those whose state is in the script */
  struct ae__check_realm *next;
} ae__check_realm;

/* A type in it. */
typedef struct ae__check_kind {
  ae__check_realm *of;
  char *name;
  ae_module *modules[AE__SIDES]; /* NULL: it has no such aggregate */
  bool over;                     /* it is quarantined */
  ae_map actors;                 /* id → ae__checked */
  struct ae__check_kind *next;
} ae__check_kind;

/* What one side makes of an actor. */
typedef struct ae__check_half {
  ae_state state; /* 0: not in the script */
  ae_buf saved;   /* what it was when it was taken out of the script */
  ae__checked *next_live;
} ae__check_half;

struct ae__checked {
  ae__check_kind *of;
  ae__check_half halves[AE__SIDES];
  uint64_t version;
  uint64_t stored; /* version that the last commit left it at; 0: none yet */
  uint64_t base;   /* its history starts after it, as records say */
  uint64_t based;  /* what of it was asked for */
  bool asked;      /* its snapshot has been asked for */
  bool waiting;    /* for one of them */
  bool over;       /* not followed any more */
  bool alone;      /* no rival, or it makes no state of it */
  bool told;       /* that its state is another one */
  ae_snapshot_read read;
  uint64_t snapshot_version; /* 0: none to compare */
  ae_buf snapshot;
  struct ae__check_run *run;
  size_t id_len;
  char id[];
};

typedef struct ae__check_run {
  ae_check *of;
  ae_node *node;
  ae__check_realm *realms;
  ae__check_kind *kinds;
  ae__check_kind *last; /* most often the next one too */
  ae_stats_read stats;
  ae_scan scan;
  bool scanning; /* to be ended by us */
  bool stopped;
  bool at_end;
  ae_record *records;   /* the page's, copied */
  ae__checked **actors; /* whose they are */
  uint32_t record_count;
  ae_buf bytes;
  unsigned pending; /* snapshots asked for */
  ae_buf dumped, other;
} ae__check_run;

/* Finds it or makes it; tells, once, that the app has no such aggregate. */
ae__checked *ae__check_actor(ae__check_run *run, const ae_ref *ref);
ae_ref ae__check_ref(const ae__checked *actor);
/* Takes one commit's events in, and tells what is wrong. */
void ae__check_take(ae__checked *actor, const ae_record *record);
/* It fails: tells, and follows it no more. */
void ae__check_fail(ae__checked *actor, ae_error *err);
/* At the end: all states against those of the rival. */
void ae__check_sides(ae__check_run *run);
void ae__check_free(ae__check_run *run); /* all actors, and the rivals */

#endif
