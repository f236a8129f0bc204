/* `aether doctor`: looks, and says what to do. Changes nothing. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/doctor.h"
#include "door/subcommand.h"
#include "door/terminal.h"
#include "node/bench.h"
#include "node/node.h"
#include "node/spec.h"

void ae__doctor_say(ae__doctor *d, ae__finding state, const char *about,
                    const char *text, const char *mend) {
  static const char *const words[] = {"ok", "note", "wrong"};
  static const ae__ink inks[] = {AE__GREEN, AE__YELLOW, AE__RED};
  if (state == AE__WRONG) d->wrong = true;
  if (!d->json) {
    printf("%s%-6s%s%-9s %s\n", ae__color(stdout, inks[state]), words[state],
           ae__color(stdout, AE__PLAIN), about, text);
    if (mend) printf("                mend: %s\n", mend);
    return;
  }
  ae_buf packed = {0}, line = {0};
  ae_pack_map(&packed, 3 + (mend != NULL));
  ae_pack_cstr(&packed, "check");
  ae_pack_cstr(&packed, about);
  ae_pack_cstr(&packed, "status");
  ae_pack_cstr(&packed, words[state]);
  ae_pack_cstr(&packed, "text");
  ae_pack_text(&packed, ae_str_of(text));
  if (mend) {
    ae_pack_cstr(&packed, "mend");
    ae_pack_text(&packed, ae_str_of(mend));
  }
  ae_json_write(ae_buf_view(&packed), &line);
  printf("%s\n", ae_buf_cstr(&line));
  ae_buf_clear(&packed);
  ae_buf_clear(&line);
}

void ae__doctor_sayf(ae__doctor *d, ae__finding state, const char *about,
                     const char *mend, const char *format, ...) {
  va_list args;
  ae_buf text = {0};
  va_start(args, format);
  ae_buf_vprintf(&text, format, args);
  va_end(args);
  ae__doctor_say(d, state, about, ae_buf_cstr(&text), mend);
  ae_buf_clear(&text);
}

/* -- the machine -- */

static void on_limit(void *data, const ae_bench_run *run) {
  ae__doctor *d = data;
  ae__doctor_sayf(
      d, AE__GOOD, "lua", NULL,
      "LuaJIT loads a module, decides and evolves: %s commands/s",
      ae__count((uint64_t)((double)run->operations / run->seconds)));
}

static void look_at_lua(ae__doctor *d) {
  const ae_bench_options options = {.actors = 1, .seconds = 0.02};
  ae_error err = {0};
  if (ae_bench_limit(&options, on_limit, d, &err) != AE_OK)
    ae__doctor_say(
        d, AE__WRONG, "lua", ae_error_text(&err),
        "a writable TMPDIR, and LuaJIT with GC64 (Debian's libluajit-5.1-2)");
  ae_error_clear(&err);
}

static void look_at_busted(ae__doctor *d) {
  ae_error err = {0};
  if (ae_spec_ready(&err) == AE_OK)
    ae__doctor_say(d, AE__GOOD, "busted",
                   "is here, so `aether test` runs specs", NULL);
  else
    ae__doctor_sayf(d, AE__NOTE, "busted", "apt-get install lua-busted",
                    "cannot be run, so `aether test` cannot: %s",
                    ae_error_text(&err));
  ae_error_clear(&err);
}

static void look_at_clock(ae__doctor *d) {
  /* 2024-01-01: events made before it have a time that is surely wrong. */
  if (ae_clock_now() < INT64_C(1704067200000000))
    ae__doctor_say(d, AE__WRONG, "clock",
                   "is set to before 2024; events would keep that time",
                   "set the clock: timedatectl set-ntp true");
  else
    ae__doctor_say(d, AE__GOOD, "clock", "is set to a time that can be", NULL);
}

static void look_at_locale(ae__doctor *d) {
  setlocale(LC_CTYPE, "");
  const char *codes = nl_langinfo(CODESET);
  if (strcmp(codes, "UTF-8") == 0)
    ae__doctor_say(d, AE__GOOD, "locale", "is UTF-8", NULL);
  else
    ae__doctor_sayf(d, AE__NOTE, "locale", "export LC_ALL=C.UTF-8",
                    "is %s; what is shown is UTF-8 all the same", codes);
}

/* -- the app -- */

static void on_stray(void *data, const char *name, const char *nearest) {
  ae_buf mend = {0};
  if (nearest[0])
    ae_buf_printf(&mend, "unset it, or name it %s", nearest);
  else
    ae_buf_printf(&mend, "unset it");
  ae__doctor_sayf(data, AE__NOTE, "settings", ae_buf_cstr(&mend),
                  "%s in the environment is no setting", name);
  ae_buf_clear(&mend);
}

static bool look_at_settings(ae__doctor *d) {
  ae_error err = {0};
  bool good = ae__args_config(d->args, &d->config, &err) == AE_OK;
  if (!good)
    ae__doctor_say(d, AE__WRONG, "settings", ae_error_text(&err),
                   "`aether help config`");
  else if (d->config.namespace_count == 0)
    ae__doctor_sayf(d, AE__NOTE, "settings", "-C DIR, or `aether new DIR`",
                    "%s holds no modules, so it is no app", d->config.app);
  else
    ae__doctor_sayf(d, AE__GOOD, "settings", NULL, "%s: namespaces: %s%s",
                    d->config.app, ae__count(d->config.namespace_count),
                    d->config.file ? "" : ", without aether.lua");
  ae_error_clear(&err);
  ae_config_strays(on_stray, d);
  return good;
}

static void node_closed(void *data) {
  (void)data;
}

typedef struct probed {
  ae_write write; /* first */
  ae_node *node;
  ae_error *err;
} probed;

static void on_probed(ae_write *write, ae_status status, const ae_error *err) {
  probed *probe = (probed *)write;
  if (status != AE_OK && err) ae_error_copy(probe->err, err);
  probe->err->status = status;
  ae_node_close(probe->node, node_closed, NULL);
}

/* A write that leaves nothing. Closes the node. */
static ae_status probe_store(ae_loop *loop, ae_node *node, ae_error *err) {
  probed probe = {.write.cb = on_probed, .node = node, .err = err};
  if (ae_store_probe(ae_node_store(node), &probe.write, err) != AE_OK)
    ae_node_close(node, node_closed, NULL);
  ae_loop_run(loop);
  return err->status;
}

/* Opens the store as a writer would, and closes it. */
static void look_at_store(ae__doctor *d) {
  ae_loop loop;
  ae_node *node = NULL;
  ae_error err = {0};
  ae_str pid;
  if (ae_loop_init(&loop, &err) != AE_OK) {
    ae__doctor_say(d, AE__WRONG, "store", ae_error_text(&err),
                   "close what holds files");
    ae_error_clear(&err);
    return;
  }
  const ae_node_options options = {
      .config = &d->config, .store = true, .mode = AE_STORE_WRITE};
  if (ae_node_open(&loop, &options, &node, &err) == AE_OK &&
      probe_store(&loop, node, &err) == AE_OK) {
    ae__doctor_sayf(d, AE__GOOD, "store", NULL, "%s can be written",
                    d->config.store);
  } else {
    ae_buf facts = {0};
    ae_pack_map(&facts, err.nfacts);
    ae_buf_str(&facts, ae_buf_view(&err.facts));
    bool held = ae_unpack_field(ae_buf_view(&facts), "pid", &pid);
    ae__doctor_say(
        d, held ? AE__NOTE : AE__WRONG, "store", ae_error_text(&err),
        held ? "nothing, if that process is the one that is meant to write"
             : "what the message says, or another --store");
    ae_buf_clear(&facts);
  }
  ae_loop_clear(&loop);
  ae_error_clear(&err);
}

/* The deepest folder of a path that is there. */
static char *existing(const char *file) {
  char *path = ae_strdup(file);
  struct stat info;
  while (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
    char *slash = strrchr(path, '/');
    if (!slash || slash == path) {
      memcpy(path, slash ? "/" : ".", 2);
      return path;
    }
    *slash = 0;
  }
  return path;
}

static void look_at_place(ae__doctor *d, const char *file) {
  char *folder = existing(file);
  struct statvfs disk;
  if (access(folder, W_OK | X_OK) != 0)
    ae__doctor_sayf(d, AE__WRONG, "folder",
                    "make it writable, or name another --store", "%s: %s",
                    folder, strerror(errno));
  else
    ae__doctor_sayf(d, AE__GOOD, "folder", NULL, "%s is writable", folder);
  if (statvfs(folder, &disk) == 0) {
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize >> 20;
    if (room < 100)
      ae__doctor_sayf(d, AE__WRONG, "disk",
                      "make room, or name another --store",
                      "only %s MB are free below %s", ae__count(room), folder);
    else
      ae__doctor_sayf(d, AE__GOOD, "disk", NULL, "%s MB are free below %s",
                      ae__count(room), folder);
  }
  ae_free(folder);
}

int ae__doctor_run(const ae__args *args) {
  ae__doctor d = {.args = args, .json = ae__args_json(args)};
  look_at_lua(&d);
  look_at_busted(&d);
  ae__doctor_files(&d);
  look_at_clock(&d);
  look_at_locale(&d);
  if (look_at_settings(&d)) {
    ae__doctor_http(&d);
    const char *file = ae_store_file(d.config.store);
    struct stat info;
    if (file) look_at_place(&d, file);
    /* A store that is not there yet is not made by looking. */
    if (!file || stat(file, &info) == 0)
      look_at_store(&d);
    else
      ae__doctor_sayf(&d, AE__GOOD, "store", NULL,
                      "%s is not there yet; the first commands make it",
                      d.config.store);
  }
  ae_config_clear(&d.config);
  return d.wrong ? ae_status_exit(AE_REJECTED) : 0;
}
