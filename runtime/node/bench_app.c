#include "node/bench_app.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pack.h"

static const char account[] =
    "local event = require(\"aether.event\")\n"
    "\n"
    "local account = {\n"
    "  initial = { balance = 0, deposits = 0 },\n"
    "  snapshot = { version = 1, every = 100 },\n"
    "}\n"
    "\n"
    "local decide = {}\n"
    "account.decide = decide\n"
    "\n"
    "function decide.deposit(state, deposit)\n"
    "  if deposit.amount <= 0 then\n"
    "    return nil, \"nothing_to_deposit\"\n"
    "  end\n"
    "  return event(\"Deposited\", { amount = deposit.amount, memo = "
    "deposit.memo })\n"
    "end\n"
    "\n"
    "local evolve = {}\n"
    "account.evolve = evolve\n"
    "\n"
    "function evolve.Deposited(state, deposited)\n"
    "  state.balance = state.balance + deposited.amount\n"
    "  state.deposits = state.deposits + 1\n"
    "end\n"
    "\n"
    "return account\n";

const ae_str ae__bench_command = {"deposit", 7};

void ae__bench_data(ae_buf *out) {
  ae_pack_map(out, 2);
  ae_pack_cstr(out, "amount");
  ae_pack_int(out, 5);
  ae_pack_cstr(out, "memo");
  ae_pack_cstr(out, "rent of the second floor, for November");
}

ae_status ae__bench_store_check(const ae_bench_options *options,
                                ae_error *err) {
  const char *file = ae_store_file(options->store);
  struct stat info;
  if (file && stat(file, &info) == 0)
    return ae_error_set(err, AE_USAGE,
                        "%s is there already; a benchmark writes only to a "
                        "file that is not",
                        file);
  if (file || strcmp(options->store, "memory") == 0 ||
      strcmp(options->store, "sqlite") == 0)
    return AE_OK;
  if (strncmp(options->store, "nats://", 7) == 0)
    return ae_error_set(err, AE_USAGE,
                        "`aether bench jetstream` measures a store on NATS");
  return ae_error_set(err, AE_USAGE,
                      "--store must be memory, sqlite or sqlite:FILE, not "
                      "\"%s\"",
                      options->store);
}

/* -- the folder -- */

static bool is_tmpfs(const char *path) {
  struct statfs info;
  return statfs(path, &info) == 0 && info.f_type == TMPFS_MAGIC;
}

/* Where fsync means something, if there is such a place. */
static const char *parent(void) {
  const char *tmp = getenv("TMPDIR");
  if (tmp && tmp[0]) return tmp;
  return is_tmpfs("/tmp") ? "/var/tmp" : "/tmp";
}

static ae_status save(const char *folder, const char *ns, uint64_t revision,
                      ae_error *err) {
  ae_buf path = {0};
  ae_buf_printf(&path, "%s/%s/account.lua", folder, ns);
  FILE *file = fopen(ae_buf_cstr(&path), "w");
  bool good = file && fputs(account, file) >= 0 &&
              fprintf(file, "-- %llu\n", (unsigned long long)revision) > 0;
  if (file && fclose(file) != 0) good = false;
  ae_status status = AE_OK;
  if (!good)
    status = ae_error_set(err, AE_NOT_FOUND, "%s cannot be written: %s",
                          ae_buf_cstr(&path), strerror(errno));
  ae_buf_clear(&path);
  return status;
}

ae_status ae__bench_app_save(ae__bench_app *app, uint64_t revision,
                             ae_error *err) {
  return save(app->folder, app->ns, revision, err);
}

static ae_status write_app(const char *folder, const char *ns, ae_error *err) {
  ae_buf path = {0};
  ae_buf_printf(&path, "%s/%s", folder, ns);
  ae_status status = AE_OK;
  if (mkdir(ae_buf_cstr(&path), 0700) != 0)
    status = ae_error_set(err, AE_NOT_FOUND, "%s cannot be made: %s",
                          ae_buf_cstr(&path), strerror(errno));
  if (status == AE_OK) status = save(folder, ns, 0, err);
  ae_buf_clear(&path);
  return status;
}

static void remove_all(const char *path) {
  struct stat info;
  if (lstat(path, &info) != 0) return;
  if (!S_ISDIR(info.st_mode)) {
    unlink(path);
    return;
  }
  DIR *dir = opendir(path);
  for (struct dirent *entry; dir && (entry = readdir(dir));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    ae_buf below = {0};
    ae_buf_printf(&below, "%s/%s", path, entry->d_name);
    remove_all(ae_buf_cstr(&below));
    ae_buf_clear(&below);
  }
  if (dir) closedir(dir);
  rmdir(path);
}

static ae_status make_folder(ae__bench_app *app, ae_error *err) {
  ae_buf text = {0};
  ae_buf_printf(&text, "%s/aether-bench.XXXXXX", parent());
  char *folder = ae_strdup(ae_buf_cstr(&text));
  ae_buf_clear(&text);
  if (mkdtemp(folder)) {
    app->folder = folder;
    return write_app(folder, app->ns, err);
  }
  ae_status status = ae_error_set(err, AE_NOT_FOUND, "%s cannot be made: %s",
                                  folder, strerror(errno));
  ae_free(folder);
  return status;
}

/* -- the app -- */

static ae_status load(ae__bench_app *app, const char *store, ae_error *err) {
  ae_buf url = {0};
  bool own = store && strcmp(store, "sqlite") == 0;
  if (own)
    ae_buf_printf(&url, "sqlite:%s/events.db", app->folder);
  else
    ae_buf_printf(&url, "%s", store ? store : "memory");
  const ae_config_flag flags[] = {{"store", ae_buf_cstr(&url)}, {0}};
  ae_status status = ae_config_load(app->folder, flags, &app->config, err);
  const char *file = ae_store_file(url.ptr);
  app->durable = !store ? "nothing" : "memory";
  if (file) {
    /* The file is not there yet: ask of its folder. */
    char *place = ae_strdup(file);
    char *slash = strrchr(place, '/');
    if (slash) *slash = 0;
    app->durable = is_tmpfs(!slash   ? "."
                            : *place ? place
                                     : "/")
                       ? "tmpfs"
                       : "fsynced";
    ae_free(place);
  }
  ae_buf_clear(&url);
  return status;
}

ae_status ae__bench_app_open(ae__bench_app *app, const char *store,
                             ae_error *err) {
  bool shared = store && strncmp(store, "nats://", 7) == 0;
  if (shared)
    snprintf(app->ns, sizeof app->ns, "aether-bench-%llx",
             (unsigned long long)ae_clock_now());
  else
    snprintf(app->ns, sizeof app->ns, "bank");
  ae_status status = make_folder(app, err);
  if (status == AE_OK) status = load(app, store, err);
  if (shared) app->durable = "replicated";
  if (status == AE_OK) status = ae_loop_init(&app->loop, err);
  if (status != AE_OK) return status;
  app->loop_open = true;
  const ae_node_options options = {.config = &app->config,
                                   .modules = true,
                                   .store = store != NULL,
                                   .mode = AE_STORE_WRITE};
  return ae_node_open(&app->loop, &options, &app->node, err);
}

static void node_closed(void *data) {
  (void)data;
}

void ae__bench_app_close(ae__bench_app *app) {
  if (app->node) ae_node_close(app->node, node_closed, NULL);
  if (app->loop_open) {
    ae_loop_run(&app->loop);
    ae_loop_clear(&app->loop);
  }
  ae_config_clear(&app->config);
  if (app->folder) remove_all(app->folder);
  ae_free(app->folder);
  memset(app, 0, sizeof *app);
}

ae_module *ae__bench_account(ae__bench_app *app) {
  ae_script *script = ae_node_script(app->node, ae_str_of(app->ns));
  ae_module *module = ae_script_find(script, AE_STR("account"));
  AE_ASSERT(module != NULL);
  return module;
}

/* -- signals -- */

static volatile sig_atomic_t stopped;
static struct sigaction old_interrupt, old_terminate;

static void on_signal(int number) {
  (void)number;
  stopped = 1;
}

void ae__bench_watch(void) {
  struct sigaction action = {.sa_handler = on_signal,
                             .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
  stopped = 0;
  sigaction(SIGINT, &action, &old_interrupt);
  sigaction(SIGTERM, &action, &old_terminate);
}

void ae__bench_unwatch(void) {
  sigaction(SIGINT, &old_interrupt, NULL);
  sigaction(SIGTERM, &old_terminate, NULL);
}

bool ae__bench_stopped(void) {
  return stopped != 0;
}

/* -- measuring -- */

static uint64_t cpu_ns(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  uint64_t seconds =
      (uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec;
  uint64_t micros =
      (uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec;
  return seconds * 1000000000 + micros * 1000;
}

void ae__stopwatch_start(ae__stopwatch *watch) {
  watch->cpu_from = cpu_ns();
  watch->wall_from = ae_clock_mono();
}

void ae__stopwatch_stop(ae__stopwatch *watch, ae_bench_run *run) {
  watch->wall += ae_clock_mono() - watch->wall_from;
  watch->cpu += cpu_ns() - watch->cpu_from;
  run->seconds = (double)watch->wall / 1e9;
  run->cores = watch->wall > 0 ? (double)watch->cpu / (double)watch->wall : 0;
}

void ae__bench_percentiles(const ae__histogram *histogram, ae_bench_run *run) {
  run->p50_us = (double)ae__histogram_at(histogram, 0.50) / 1000;
  run->p99_us = (double)ae__histogram_at(histogram, 0.99) / 1000;
}
