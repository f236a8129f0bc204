/* `aether check`: the modules, then history through them. */
#include <errno.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/pack.h"
#include "door/diff.h"
#include "door/session.h"
#include "door/terminal.h"
#include "node/check.h"

typedef struct checking {
  const ae__args *args;
  ae_config config;
  ae_loop loop;
  ae_node *node;
  ae_check check;
  ae__progress progress;
  bool json;
  uint64_t mistakes;
  uint64_t modules;
  bool replayed;
  int exit;
} checking;

static void print_json(const ae_error *err, ae_str snapshot, ae_str replayed) {
  ae_buf packed = {0}, text = {0};
  ae_pack_map(&packed, 1 + (snapshot.len > 0));
  ae_pack_cstr(&packed, "error");
  ae_error_render(err, &packed);
  if (snapshot.len > 0) {
    ae_pack_cstr(&packed, "changed");
    ae__diff_pack(snapshot, replayed, &packed);
  }
  ae_json_write(ae_buf_view(&packed), &text);
  printf("%s\n", ae_buf_cstr(&text));
  ae_buf_clear(&packed);
  ae_buf_clear(&text);
}

static void print_mistake(checking *c, const ae_error *err, ae_str snapshot,
                          ae_str replayed) {
  c->mistakes++;
  if (c->json) {
    print_json(err, snapshot, replayed);
    return;
  }
  ae_buf changes = {0};
  if (snapshot.len > 0) ae__diff_text(snapshot, replayed, "    ", &changes);
  ae__progress_end(&c->progress);
  printf("%s%.*s%s\n%.*s", ae__color(stdout, AE__RED),
         AE_FMT(ae_buf_view(&err->message)), ae__color(stdout, AE__PLAIN),
         AE_FMT(ae_buf_view(&changes)));
  ae_buf_clear(&changes);
}

static void on_module_mistake(void *data, ae_str ns, const ae_error *err) {
  (void)ns;
  print_mistake(data, err, (ae_str){0}, (ae_str){0});
}

static void on_mistake(ae_check *check, const ae_error *err, ae_str snapshot,
                       ae_str replayed) {
  print_mistake(check->data, err, snapshot, replayed);
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
  const char *file = ae_store_file(config->store);
  struct stat info;
  return file && (stat(file, &info) == 0 || errno != ENOENT);
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

static void replay(checking *c, ae_error *err) {
  if (c->config.store_source != AE_SETTING_FLAG)
    ae__say("reading the app's own store, %s", c->config.store);
  ae__progress_start(&c->progress, c->args);
  c->check.mistake = on_mistake;
  c->check.progress = on_progress;
  c->check.done = on_done;
  c->check.data = c;
  if (ae_check_start(c->node, &c->check, err) == AE_OK) return;
  c->exit = ae__complain(c->args, err);
  ae_node_close(c->node, node_closed, NULL);
}

static void summarize(const checking *c) {
  const ae_check_counts *counts = &c->check.counts;
  if (c->json) {
    printf(
        "{\"modules\":%llu,\"mistakes\":%llu,\"commits\":%llu,"
        "\"events\":%llu,\"actors\":%llu}\n",
        (unsigned long long)c->modules, (unsigned long long)c->mistakes,
        (unsigned long long)counts->commits, (unsigned long long)counts->events,
        (unsigned long long)counts->actors);
    return;
  }
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
  printf("\n");
}

int ae__check_run(const ae__args *args) {
  checking c = {.args = args, .json = ae__args_json(args)};
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
  ae_config_clear(&c.config);
  if (c.exit != 0) return c.exit;
  return c.mistakes > 0 ? ae_status_exit(AE_REJECTED) : 0;
}
