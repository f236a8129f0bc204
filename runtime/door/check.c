/* `aether check`: the modules, then history through them. */
#include <string.h>
#include <sys/resource.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/diff.h"
#include "door/rivals.h"
#include "door/session.h"
#include "door/terminal.h"
#include "node/check.h"

#define SHOWN 10 /* of a kind, to people */
#define NICE 10

/* Mistakes of one kind: of one code, at actors of one type. */
typedef struct group {
  struct group *next;
  uint64_t count;
  ae_str key;
  char text[]; /* "-bank/account: contract_error"; "+…": a note */
} group;

typedef struct checking {
  const ae__args *args;
  ae_config config;
  ae_loop loop;
  ae_node *node;
  ae_check check;
  ae__rivals rivals;
  ae__progress progress;
  bool json;
  uint64_t mistakes;
  group *groups, **last;
  uint64_t modules;
  bool replayed;
  int exit;
} checking;

static void print_json(const char *what, const ae_error *err, ae_str before,
                       ae_str after) {
  ae_buf packed = {0}, text = {0};
  ae_pack_map(&packed, 1 + (before.len > 0));
  ae_pack_cstr(&packed, what);
  ae_error_render(err, &packed);
  if (before.len > 0) {
    ae_pack_cstr(&packed, "changed");
    ae__diff_pack(before, after, &packed);
  }
  ae_json_write(ae_buf_view(&packed), &text);
  printf("%s\n", ae_buf_cstr(&text));
  ae_buf_clear(&packed);
  ae_buf_clear(&text);
}

/* "NAMESPACE/TYPE" of the actor that it is about; len 0: of none. */
static ae_str type_of(const ae_error *err, ae_buf *facts) {
  ae_str value, actor = {0};
  ae_pack_map(facts, err->nfacts);
  ae_buf_str(facts, ae_buf_view(&err->facts));
  if (!ae_unpack_field(ae_buf_view(facts), "actor", &value)) return actor;
  ae_unpack cursor = ae_unpack_of(value);
  ae_unpack_str(&cursor, &actor);
  const char *slash = memchr(actor.ptr, '/', actor.len);
  if (!slash) return (ae_str){0};
  size_t ns = (size_t)(slash + 1 - actor.ptr);
  slash = memchr(slash + 1, '/', actor.len - ns);
  actor.len = slash ? (size_t)(slash - actor.ptr) : 0;
  return actor;
}

/* NULL: of no actor, told each time. */
static group *group_of(checking *c, const char *what, const ae_error *err) {
  ae_buf facts = {0}, key = {0};
  ae_str type = type_of(err, &facts);
  group *one = NULL;
  if (type.len > 0) {
    ae_buf_printf(&key, "%s%.*s: %s", strcmp(what, "note") == 0 ? "+" : "-",
                  AE_FMT(type), ae_status_word(err->status));
    for (one = c->groups; one; one = one->next)
      if (ae_str_eq(one->key, ae_buf_view(&key))) break;
    if (!one) {
      one = ae_zalloc(sizeof *one + key.len + 1);
      memcpy(one->text, key.ptr, key.len);
      one->key = (ae_str){one->text, key.len};
      *c->last = one;
      c->last = &one->next;
    }
  }
  ae_buf_clear(&facts);
  ae_buf_clear(&key);
  return one;
}

static void print(checking *c, const char *what, ae__ink ink,
                  const ae_error *err, ae_str before, ae_str after) {
  if (c->json) {
    print_json(what, err, before, after);
    return;
  }
  group *of = group_of(c, what, err);
  if (of && of->count++ >= SHOWN) return;
  ae_buf changes = {0};
  if (before.len > 0) ae__diff_text(before, after, "    ", &changes);
  ae__progress_end(&c->progress);
  printf("%s%s%.*s%s\n%.*s", ae__color(stdout, ink),
         strcmp(what, "note") == 0 ? "note: " : "",
         AE_FMT(ae_buf_view(&err->message)), ae__color(stdout, AE__PLAIN),
         AE_FMT(ae_buf_view(&changes)));
  ae_buf_clear(&changes);
}

static void print_rest(checking *c) {
  while (c->groups) {
    group *one = c->groups;
    c->groups = one->next;
    if (one->count > SHOWN)
      printf("%s%s more actors of %s (--json shows all)\n",
             one->text[0] == '+' ? "note: " : "", ae__count(one->count - SHOWN),
             one->text + 1);
    ae_free(one);
  }
}

static void print_mistake(checking *c, const ae_error *err, ae_str before,
                          ae_str after) {
  c->mistakes++;
  print(c, "error", AE__RED, err, before, after);
}

static void on_module_mistake(void *data, ae_str ns, const ae_error *err) {
  (void)ns;
  print_mistake(data, err, (ae_str){0}, (ae_str){0});
}

static void on_mistake(ae_check *check, const ae_error *err, ae_str before,
                       ae_str after) {
  print_mistake(check->data, err, before, after);
}

static void on_note(ae_check *check, const ae_error *err, ae_str before,
                    ae_str after) {
  print(check->data, "note", AE__YELLOW, err, before, after);
}

static void on_progress(ae_check *check) {
  checking *c = check->data;
  if (!ae__progress_due(&c->progress)) return;
  ae__progress_show(&c->progress, "%s %s events of %s actors",
                    ae__bar(check->counts.commits, check->total),
                    ae__count(check->counts.events),
                    ae__count(check->counts.actors));
}

static void node_closed(void *data) {
  (void)data;
}

static void on_done(ae_check *check, ae_status status, const ae_error *err) {
  checking *c = check->data;
  ae__progress_end(&c->progress);
  if (status != AE_OK) c->exit = ae__complain_of(c->args, status, err);
  c->replayed = true;
  ae_node_close(c->node, node_closed, NULL);
}

static bool has_store(const ae_config *config) {
  if (config->store_source == AE_SETTING_FLAG) return true;
  if (strcmp(config->store, "memory") == 0) return false;
  return ae_config_has_store(config, NULL) == AE_OK;
}

/* Opens the node; false: no history to replay. */
static bool open_node(checking *c, ae_error *err) {
  bool store = has_store(&c->config);
  ae_node_options options = {.config = &c->config,
                             .modules = true,
                             .mode = AE_STORE_READ,
                             .mistake = on_module_mistake,
                             .data = c};
  ae_status status = ae_node_open(&c->loop, &options, &c->node, err);
  if (status != AE_OK) {
    /* What is wrong with modules has been printed; all else has not. */
    if (c->mistakes == 0) c->exit = ae__complain(c->args, err);
    return false;
  }
  c->modules = ae_node_module_count(c->node);
  if (!store) {
    ae_node_close(c->node, node_closed, NULL);
    return false;
  }
  if (ae_node_open_store(c->node, AE_STORE_READ, err) == AE_OK) return true;
  c->exit = ae__complain(c->args, err);
  ae_node_close(c->node, node_closed, NULL);
  return false;
}

/* False: the node that was named does not tell. */
static bool ask_rivals(checking *c, ae_error *err) {
  if (ae__rivals_ask(&c->rivals, c->args, &c->config, c->node, err) == AE_OK) {
    if (c->rivals.asked) /* the node beside it goes first */
      setpriority(PRIO_PROCESS, 0, NICE);
    if (c->rivals.count > 0)
      ae__say("comparing with the code that runs at %s", c->rivals.url);
    return true;
  }
  if (err->status != AE_CANCELED && !ae__args_get(c->args, "url")) {
    ae__say("not compared with the code that runs: %s", ae_error_text(err));
    ae_error_clear(err);
    return true;
  }
  c->exit = ae__complain(c->args, err);
  return false;
}

static void replay(checking *c, ae_error *err) {
  if (c->config.store_source != AE_SETTING_FLAG)
    ae__say("reading the app's own store, %s", c->config.store);
  if (!ask_rivals(c, err)) {
    ae_node_close(c->node, node_closed, NULL);
    return;
  }
  ae__progress_start(&c->progress, c->args);
  c->check.mistake = on_mistake;
  c->check.note = on_note;
  c->check.rivals = c->rivals.items;
  c->check.rival_count = c->rivals.count;
  c->check.progress = on_progress;
  c->check.done = on_done;
  c->check.data = c;
  if (ae_check_start(c->node, &c->check, err) == AE_OK) return;
  c->exit = ae__complain(c->args, err);
  ae_node_close(c->node, node_closed, NULL);
}

static void summarize(checking *c) {
  const ae_check_counts *counts = &c->check.counts;
  if (c->json) {
    printf(
        "{\"modules\":%llu,\"mistakes\":%llu,\"commits\":%llu,"
        "\"events\":%llu,\"actors\":%llu,\"compared\":%s,"
        "\"differing\":%llu}\n",
        (unsigned long long)c->modules, (unsigned long long)c->mistakes,
        (unsigned long long)counts->commits, (unsigned long long)counts->events,
        (unsigned long long)counts->actors,
        c->rivals.count > 0 ? "true" : "false",
        (unsigned long long)counts->differing);
    return;
  }
  print_rest(c);
  if (c->mistakes > 0) {
    printf("%s mistake%s\n", ae__count(c->mistakes),
           c->mistakes == 1 ? "" : "s");
    return;
  }
  if (c->exit != 0) return;
  printf("%s module%s", ae__count(c->modules),
         c->modules == 1 ? " loads" : "s load");
  if (c->replayed)
    printf(", and %s events of %s actors replay", ae__count(counts->events),
           ae__count(counts->actors));
  if (c->rivals.count > 0)
    printf("; %s of their states differ from what runs",
           counts->differing > 0 ? ae__count(counts->differing) : "none");
  printf("\n");
}

int ae__check_run(const ae__args *args) {
  checking c = {.args = args, .json = ae__args_json(args)};
  c.last = &c.groups;
  ae_error err = {0};
  ae_status status = ae__args_config(args, &c.config, &err);
  if (status != AE_OK) {
    /* A wrong aether.lua is a mistake of the app like any other. */
    if (status == AE_USAGE || !c.config.file) {
      c.exit = ae__complain(args, &err);
    } else {
      print_mistake(&c, &err, (ae_str){0}, (ae_str){0});
      summarize(&c);
    }
  } else if (ae_loop_init(&c.loop, &err) != AE_OK) {
    c.exit = ae__complain(args, &err);
  } else {
    if (open_node(&c, &err)) replay(&c, &err);
    ae_loop_run(&c.loop);
    ae_loop_clear(&c.loop);
    summarize(&c);
  }
  ae_error_clear(&err);
  ae__rivals_clear(&c.rivals);
  ae_config_clear(&c.config);
  if (c.exit != 0) return c.exit;
  return c.mistakes > 0 ? ae_status_exit(AE_REJECTED) : 0;
}
