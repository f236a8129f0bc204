/* Inside the JetStream backend: the stream is the log, SQLite is where a node
 * reads.
 *
 *   append ──► stream {ns}_events ──► follower: one ordered consumer ──► SQLite
 *     ▲               │                                                    │
 *     └── the answer ─┘                     reads, scans, look-ups, rows ◄─┘
 *
 * Everything is on the loop thread but what SQLite's own thread does. A
 * position is a commit's sequence in its namespace's stream. One message is one
 * commit, on a subject of its actor's own.
 *
 * Invariants
 * 1. An append carries both guards: the subject's last sequence, and a message
 *    id made of it, which all rivals share.
 * 2. An actor has one append under way; the others of it wait behind.
 * 3. An append is answered once the server has answered it. One whose answer
 *    was lost is sent again, byte for byte.
 * 4. A follower takes in each message once, in the order of their sequences.
 * 5. Who reads an actor waits until the follower has passed the last message
 *    that the stream's leader has of it. */
#ifndef AE_STORE_JETSTREAM_H
#define AE_STORE_JETSTREAM_H

#include "base/list.h"
#include "base/map.h"
#include "store/backend.h"
#include "wire/nats.h"

typedef struct ae__js ae__js;
typedef struct ae__js_space ae__js_space;
typedef struct ae__js_head ae__js_head;
typedef struct ae__js_op ae__js_op;

/* Why JetStream refused: its own code, 0: it did not. */
typedef struct ae__js_answer {
  unsigned code;
  char text[160];
  ae_buf body; /* msgpack of the whole answer */
} ae__js_answer;

/* -- an append under way -- */
typedef struct ae__js_flight {
  ae_wire_request request;
  ae__js_head *head;
  uint64_t sequence; /* expected of the subject */
  bool again;        /* sent before; its answer was lost */
  ae_list link;      /* in js->stranded while it waits to be sent again */
} ae__js_flight;

/* An actor of which something is known or under way. */
struct ae__js_head {
  ae__js_space *space;
  ae_list ring;      /* in js->ring */
  ae_list due;       /* in js->due: something came for it this turn */
  uint64_t version;  /* of its last commit */
  uint64_t sequence; /* of that; 0: it has none */
  bool known;        /* both were so at some moment */
  bool asking;       /* they are being asked for */
  bool fresh;        /* … for the append that is first now */
  bool cleared;      /* none of its ids was stored before */
  bool used;         /* since the hand went by */
  bool busy;         /* pump is at work on it */
  ae_task *first;    /* ae_append.task, oldest first; the first may be flying */
  ae_task **last;
  ae__js_flight *flight; /* NULL: none */
  ae_ref ref;            /* slices of `key` */
  size_t len;
  char key[];
};

/* -- something that waits: for a namespace, an answer, or the follower -- */
typedef enum ae__js_need {
  AE__JS_NOTHING,
  AE__JS_ACTOR,  /* that the follower has the actor's last commit */
  AE__JS_STREAM, /* … the stream's */
  AE__JS_GIVEN,  /* … `sequence` */
} ae__js_need;

struct ae__js_op {
  ae__handle handle; /* first: what a read or a scan has before it starts */
  ae_list link;
  ae__js *js;
  ae__js_space *space;
  ae__js_need need;
  ae_ref ref; /* need ACTOR */
  uint64_t sequence;
  uint64_t here; /* doubted: what the follower has in its place */
  ae_wire_request request;
  ae_task task;
  /* One of these, once; they free the op. The space is open in `run`. */
  void (*run)(ae__js_op *op);
  void (*fail)(ae__js_op *op, ae_status status, const ae_error *err);
  ae_status status; /* to fail with, later */
  ae_error error;
  void *of;  /* the caller's struct, or a head; NULL: given up meanwhile */
  bool all;  /* it is an ae__js_all */
  bool read; /* the caller's: canceled by close; others are part of a write */
};

/* -- a consumer; zeroed before use -- */
typedef struct ae__js_pull {
  ae__js *js;
  const char *stream;
  ae_wire_subscription *subscription; /* NULL: none */
  ae_buf inbox;
  char next[512];    /* where it is asked; "": it is not made yet */
  uint64_t owed;     /* messages that were asked for and have not come */
  uint64_t consumed; /* messages that came */
} ae__js_pull;

/* -- a namespace -- */
typedef enum ae__js_phase {
  AE__JS_CLOSED,   /* nothing asked for yet, or it failed */
  AE__JS_ASKING,   /* for the stream; then it may have to be made */
  AE__JS_STARTING, /* the consumer */
  AE__JS_FILLING,  /* a new follower: all there is, then the snapshots */
  AE__JS_OPEN,
  AE__JS_ABSENT,  /* there is no stream, and this store only reads */
  AE__JS_LEAVING, /* the follower's file is being closed */
} ae__js_phase;

struct ae__js_space {
  ae__js *js;
  ae__js_phase phase;
  char stream[256]; /* {ns}_events */
  char created[64]; /* of the stream, as the server writes it */
  ae_list waiting;  /* ops, for it to open */
  ae_list behind;   /* ops, for the follower */
  ae_wire_request request;
  unsigned tries;
  bool again;        /* ask for the stream again when that is done */
  bool discard;      /* the follower's file is not to be used again */
  uint64_t differed; /* ms, loop time: when it was found to be another's */

  /* the follower */
  ae_store *inner; /* SQLite; NULL: none */
  char *file;      /* its path */
  ae__js_pull pull;
  ae_buf text;                /* an actor's id, for a moment */
  struct ae__js_block *block; /* where what is taken in lies; NULL: none */
  struct ae__js_block *spare; /* one that is free; NULL: none */
  uint64_t taken;             /* last sequence handed to `inner` */
  uint64_t followed;          /* last sequence that is in it */
  uint64_t passed;      /* last sequence that is no commit, and left out */
  uint64_t behindhand;  /* taken in, and not yet answered */
  uint64_t heard;       /* ms, loop time */
  uint64_t came;        /* likewise: the last message */
  ae_wire_request seek; /* for a message that may never come */
  bool seeking;         /* it is under way */
  uint64_t sought;      /* that message; 0: of a follower that is no more */
  bool unfollowed;      /* the server refuses it, and the log has said so */
  uint64_t until;       /* FILLING: the sequence to reach */
  bool snapshots;       /* their stream is there */
  bool new;             /* the file was made just now */
  bool doubted;         /* it was fetched anew for a record; the stream may have
                           such */
  struct ae__js_import *import; /* FILLING: the snapshots; NULL: not yet */
  bool corked;
  ae_task uncork;

  size_t name_len;
  char name[];
};

struct ae__js {
  ae_store store; /* first */
  ae_wire *wire;
  char *folder;      /* of the followers' files */
  bool private;      /* … which goes with this store */
  int lock;          /* … which is this store's; -1: none */
  unsigned replicas; /* of streams that are made */
  ae_map spaces;     /* name → ae__js_space */
  ae_map heads;      /* key → ae__js_head */
  ae_list ring;      /* of heads; the hand stands at its head */
  ae_list due;       /* heads to look at */
  ae_task pump;      /* deferred while `pumping` */
  bool pumping;
  ae__js_head **order; /* whose appends come one after the other
                          (ae_store_options.ordered) */
  size_t order_first, order_count, order_cap;
  bool ordered;
  ae_list stranded; /* flights without a connection, or to be sent again */
  uv_timer_t timer;
  uv_timer_t resend;   /* runs while flights wait for a rival's to be settled */
  bool silent;         /* it does not answer, and the log has said so */
  uint64_t silenced;   /* ms, loop time: when that changed; 0: never */
  size_t flights, ops; /* under way: close waits for the flights */
  unsigned leaving;    /* inner stores being closed */
  bool closing, over;
  void (*closed)(void *data);
  void *closed_data;
  ae_task task;
};

static inline ae__js *ae__js_of(ae_store *store) {
  return (ae__js *)store;
}
static inline ae_str ae__js_name(const ae__js_space *space) {
  return (ae_str){space->name, space->name_len};
}

/* -- jetstream_space.c: streams -- */
/* Known or made; opening starts with the first op or append. */
ae__js_space *ae__js_space_get(ae__js *js, ae_str name);
void ae__js_space_open(ae__js_space *space);
/* After a reconnect: is it still the same stream? Then the consumer anew. */
void ae__js_space_check(ae__js_space *space);
/* Its inner store is closed, and what waits fails. */
void ae__js_space_leave(ae__js_space *space, ae_status status,
                        const ae_error *err);
/* The follower has taken in what was stored up to `there`, which is the actor's
 * last commit for the stream's leader, and has `here` for the last: it was fed
 * by a replica that differs. It is fetched anew, but not time and again. */
ae_status ae__js_space_differs(ae__js_space *space, const ae_ref *ref,
                               uint64_t there, uint64_t here, ae_error *err);
/* The follower's file takes nothing any more, or is damaged. It is fetched
 * anew, and who waits goes on; false: not now, as that was done a moment ago.
 */
bool ae__js_space_lost(ae__js_space *space, const ae_error *why);
void ae__js_space_free(ae__js_space *space);
/* Asks the server's JetStream: `what` behind $JS.API., `json` the body. */
ae_status ae__js_ask(ae__js *js, ae_wire_request *request, const char *what,
                     const char *json, ae_error *err);
/* Takes an answer apart. The caller clears `out->body`. */
void ae__js_answer_read(ae__js_answer *out, const ae_wire_message *answer);
void ae__js_answer_clear(ae__js_answer *answer);
/* Text at a path of two keys, or of one (below NULL). */
bool ae__js_answer_text(const ae__js_answer *answer, const char *key,
                        const char *below, char *out, size_t size);
/* A number at a path of two keys ("state", "last_seq"), or of one ("seq", NULL)
 */
bool ae__js_answer_uint(const ae__js_answer *answer, const char *key,
                        const char *below, uint64_t *out);
/* JetStream's refusal as a status of the store. */
ae_status ae__js_refusal(const ae__js_answer *answer, const char *doing,
                         const char *stream, ae_error *err);
/* It did not answer. */
ae_status ae__js_silence(const ae__js *js, ae_error *err);
/* The server said that it has none, and is in no cluster. */
bool ae__js_bare(const ae__js *js);
/* What a request to JetStream ended with: for the log. */
void ae__js_heard(ae__js_space *space, ae_status status);

/* -- jetstream_follow.c -- */
ae_status ae__js_follow_open(ae__js_space *space, uint64_t last, ae_error *err);
/* A consumer behind what was taken. */
void ae__js_follow_start(ae__js_space *space);
void ae__js_follow_tick(ae__js_space *space, uint64_t now);
void ae__js_follow_clear(ae__js_space *space);

/* The actor of a message's subject, "aether.KIND.NS.TYPE.ID". */
bool ae__js_key_of(ae__js_space *space, const char *subject, ae__key *key,
                   ae_ref *ref);
/* Nothing is to come up to `sequence`: what is under way is behind it. */
void ae__js_follow_passed(ae__js_space *space, uint64_t sequence);
/* All that waited for it. */
void ae__js_follow_opened(ae__js_space *space);

/* -- jetstream_tail.c -- */
/* Does somebody wait for a message that was deleted? */
void ae__js_tail_look(ae__js_space *space, uint64_t now);

/* -- jetstream_pull.c -- */
/* A consumer of `stream` from `from` on; it replaces the one before. `cb` gets
 * what comes, `request` the server's answer: then ae__js_pull_made. */
ae_status ae__js_pull_start(ae__js_pull *pull, ae__js *js, const char *stream,
                            uint64_t from, ae_wire_cb cb, void *data,
                            ae_wire_request *request, ae_error *err);
/* It is there, and is asked for messages; false: the answer does not say so. */
bool ae__js_pull_made(ae__js_pull *pull, const ae__js_answer *answer);
/* Asks for more, where less than half is owed. */
void ae__js_pull_more(ae__js_pull *pull);
/* Asks as if nothing were owed. */
void ae__js_pull_again(ae__js_pull *pull);
typedef enum ae__js_pulled {
  AE__JS_MESSAGE, /* the next one; `*sequence` is the stream's */
  AE__JS_CONTROL, /* none, but the server is there */
  AE__JS_LOST,    /* one is missing: another consumer is due */
  AE__JS_OVER,    /* the server says no, or that the consumer is gone, maybe
                     with its stream, and silence follows */
} ae__js_pulled;
ae__js_pulled ae__js_pull_take(ae__js_pull *pull,
                               const ae_wire_message *message,
                               uint64_t *sequence);
void ae__js_pull_stop(ae__js_pull *pull);
void ae__js_pull_clear(ae__js_pull *pull);

/* -- jetstream_snapshot.c -- */
ae_status ae__js_save_snapshot(ae_store *store, ae_snapshot_write *snapshot,
                               ae_error *err);
/* Fetches the snapshots that there are, then opens the namespace. */
void ae__js_import_start(ae__js_space *space);
void ae__js_import_stop(ae__js_space *space);

/* -- jetstream_trim.c -- */
ae_status ae__js_trim(ae_store *store, ae_trim *trim, ae_error *err);

/* -- jetstream_delete.c -- */
ae_status ae__js_delete(ae_store *store, ae_delete *delete, ae_error *err);

/* -- jetstream_append.c -- */
ae_status ae__js_append(ae_store *store, ae_append *append, ae_error *err);
size_t ae__js_record_max(const ae_store *store);
void ae__js_heads_pump(ae__js_space *space);
/* All that wait of a namespace fail. */
void ae__js_heads_fail(ae__js_space *space, ae_status status,
                       const ae_error *err);
void ae__js_heads_clear(ae__js *js);
/* What was lost is sent again: the connection is back, or it was time. */
void ae__js_stranded_go(ae__js *js);
/* Closing without a connection: nobody will answer. */
void ae__js_stranded_fail(ae__js *js);
/* The subject of an actor's commits. */
void ae__js_subject(ae_buf *out, const char *kind, const ae_ref *ref);

/* -- jetstream_op.c -- */
ae__js_op *ae__js_op_new(ae__js *js, ae_str ns, ae__js_need need);
void ae__js_op_start(ae__js_op *op);
void ae__js_op_free(ae__js_op *op);
/* The namespace is open: on with it. */
void ae__js_op_go(ae__js_op *op);
/* Fails it in a task of its own. */
void ae__js_op_fail(ae__js_op *op, ae_status status, const ae_error *err);
/* The store is closing: those that are reads. */
void ae__js_ops_cancel(ae_list *ops);
/* The follower has come on. */
void ae__js_ops_wake(ae__js_space *space);
void ae__js_ops_fail(ae_list *ops, ae_status status, const ae_error *err);

/* -- jetstream_doubt.c -- */
/* The message `op->sequence` of `op->ref` is not in the follower, which has
 * passed it, and `here` for the actor's last. The op fails: with
 * AE_ACTOR_DAMAGED where it is no commit, else as ae__js_space_differs says. */
void ae__js_doubt(ae__js_op *op, uint64_t here);

/* -- jetstream_all.c: namespace by namespace; positions are each one's own --
 */
ae_status ae__js_scan_all(ae_store *store, ae_scan *scan, ae_error *err);
void ae__js_scan_all_more(ae_scan *scan);
void ae__js_scan_all_end(ae_scan *scan);
ae_status ae__js_stats_all(ae_store *store, ae_stats_read *read, ae_error *err);

/* -- jetstream_folder.c -- */
/* `folder`, made where it is not there and locked; NULL: a private one, and
 * those that killed processes of this user left go. Afterwards, whatever came
 * of it, ae__js_folder_leave. */
ae_status ae__js_folder_take(ae__js *js, const char *folder, ae_error *err);
/* Takes it again where somebody removed it. */
ae_status ae__js_folder_hold(ae__js *js, ae_error *err);
/* Lets go of it; a private one is removed. */
void ae__js_folder_leave(ae__js *js);

/* -- jetstream.c -- */
/* Whether close can go on. */
void ae__js_close_look(ae__js *js);

#endif
