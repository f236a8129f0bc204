/* `aether new`: a small app that works as it stands. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "door/subcommand.h"
#include "door/terminal.h"

typedef struct template {
  const char *path;
  const char *text;
}
template;

static const char account[] =
    "--- A bank account. It never goes below zero.\n"
    "local event = require(\"aether.event\")\n"
    "local schema = require(\"aether.schema\")\n"
    "\n"
    "local amount = schema.integer({ min = 1 })\n"
    "\n"
    "local account = {\n"
    "  initial = { open = false, balance = 0 },\n"
    "  snapshot = { version = 1, every = 100 },\n"
    "  schema = {\n"
    "    open = {},\n"
    "    deposit = { amount = amount },\n"
    "    withdraw = { amount = amount },\n"
    "  },\n"
    "}\n"
    "\n"
    "-- decide: a command comes in; say what happened, or why not.\n"
    "local decide = {}\n"
    "account.decide = decide\n"
    "\n"
    "function decide.open(state)\n"
    "  if state.open then\n"
    "    return nil, \"already_open\"\n"
    "  end\n"
    "  return event(\"Opened\", {})\n"
    "end\n"
    "\n"
    "function decide.deposit(state, deposit)\n"
    "  if not state.open then\n"
    "    return nil, \"not_open\"\n"
    "  end\n"
    "  return event(\"Deposited\", { amount = deposit.amount })\n"
    "end\n"
    "\n"
    "function decide.withdraw(state, withdraw)\n"
    "  if withdraw.amount > state.balance then\n"
    "    return nil, \"insufficient_funds\", { balance = state.balance }\n"
    "  end\n"
    "  return event(\"Withdrawn\", { amount = withdraw.amount })\n"
    "end\n"
    "\n"
    "-- evolve: it happened; this is what it means. It never says no.\n"
    "local evolve = {}\n"
    "account.evolve = evolve\n"
    "\n"
    "function evolve.Opened(state)\n"
    "  state.open = true\n"
    "end\n"
    "\n"
    "function evolve.Deposited(state, deposited)\n"
    "  state.balance = state.balance + deposited.amount\n"
    "end\n"
    "\n"
    "function evolve.Withdrawn(state, withdrawn)\n"
    "  state.balance = state.balance - withdrawn.amount\n"
    "end\n"
    "\n"
    "return account\n";

static const char spec[] =
    "local event = require(\"aether.event\")\n"
    "local given = require(\"aether.scenario\")(\"account\")\n"
    "\n"
    "describe(\"an account\", function()\n"
    "  it(\"opens, once\", function()\n"
    "    given():when(\"open\", {}):expect(event(\"Opened\", {}))\n"
    "    given(event(\"Opened\", {})):when(\"open\", {})"
    ":rejected(\"already_open\")\n"
    "  end)\n"
    "\n"
    "  it(\"takes deposits when it is open\", function()\n"
    "    given():when(\"deposit\", { amount = 5 }):rejected(\"not_open\")\n"
    "    given(event(\"Opened\", {}))\n"
    "      :when(\"deposit\", { amount = 5 })\n"
    "      :expect(event(\"Deposited\", { amount = 5 }))\n"
    "      :state({ open = true, balance = 5 })\n"
    "  end)\n"
    "\n"
    "  it(\"never goes below zero, and says what there is\", function()\n"
    "    given(event(\"Opened\", {}), event(\"Deposited\", { amount = 10 }))\n"
    "      :when(\"withdraw\", { amount = 11 })\n"
    "      :rejected(\"insufficient_funds\", { balance = 10 })\n"
    "  end)\n"
    "end)\n";

static const char commands[] =
    "{\"actor\":\"bank/account/a-1\",\"command\":\"open\",\"id\":\"1\"}\n"
    "{\"actor\":\"bank/account/a-1\",\"command\":\"deposit\","
    "\"data\":{\"amount\":100},\"id\":\"2\"}\n"
    "{\"actor\":\"bank/account/a-1\",\"command\":\"withdraw\","
    "\"data\":{\"amount\":30},\"id\":\"3\"}\n"
    "{\"actor\":\"bank/account/b-7\",\"command\":\"open\",\"id\":\"4\"}\n"
    "{\"actor\":\"bank/account/b-7\",\"command\":\"deposit\","
    "\"data\":{\"amount\":30},\"id\":\"5\"}\n";

static const char settings[] =
    "-- Settings; every key is optional. `aether config` shows what holds.\n"
    "return {\n"
    "  store = \"sqlite:data/events.db\",\n"
    "  namespaces = {\n"
    "    bank = { modules = \"bank\" },\n"
    "  },\n"
    "}\n";

/* busted alone runs the specs too, under LuaJIT. */
static const char busted[] =
    "return {\n"
    "  default = { lua = \"luajit\" },\n"
    "  _all = { lua = \"luajit\" },\n"
    "}\n";

static const template templates[] = {
    {"aether.lua", settings},
    {"bank/account.lua", account},
    {"spec/account_spec.lua", spec},
    {"commands.ndjson", commands},
    {".busted", busted},
    {".gitignore", "/data/\n"},
};

static ae_status fail(ae_error *err, const char *path) {
  return ae_error_set(err, AE_NOT_FOUND, "%s cannot be made: %s", path,
                      strerror(errno));
}

/* AE_OK: it is there now, and empty. */
static ae_status make_empty(const char *path, ae_error *err) {
  if (mkdir(path, 0777) == 0) return AE_OK;
  if (errno != EEXIST) return fail(err, path);
  DIR *dir = opendir(path);
  if (!dir) return fail(err, path);
  bool empty = true;
  for (struct dirent *entry; empty && (entry = readdir(dir));)
    empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
  closedir(dir);
  if (empty) return AE_OK;
  return ae_error_set(err, AE_USAGE,
                      "%s is not empty, and nothing in it was changed; name a "
                      "folder that does not exist yet",
                      path);
}

static ae_status write_file(const char *path, const char *text, ae_error *err) {
  FILE *file = fopen(path, "wx");
  if (!file) return fail(err, path);
  bool good = fputs(text, file) >= 0;
  if (fclose(file) != 0 || !good) return fail(err, path);
  return AE_OK;
}

static ae_status fill(const char *dir, ae_error *err) {
  static const char *const folders[] = {"bank", "spec"};
  ae_buf path = {0};
  ae_status status = AE_OK;
  for (size_t i = 0; i < 2 && status == AE_OK; i++) {
    ae_buf_reset(&path);
    ae_buf_printf(&path, "%s/%s", dir, folders[i]);
    if (mkdir(ae_buf_cstr(&path), 0777) != 0)
      status = fail(err, ae_buf_cstr(&path));
  }
  for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
    if (status != AE_OK) break;
    ae_buf_reset(&path);
    ae_buf_printf(&path, "%s/%s", dir, templates[i].path);
    status = write_file(ae_buf_cstr(&path), templates[i].text, err);
  }
  ae_buf_clear(&path);
  return status;
}

/* The folder's name as a shell takes it. */
static void quote(const char *text, ae_buf *out) {
  bool simple = text[0] != '-' && text[0] != '~';
  for (const char *at = text; *at; at++)
    simple =
        simple && ((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                   (*at >= '0' && *at <= '9') || strchr("/._-+", *at));
  if (simple) {
    ae_buf_printf(out, "%s", text);
    return;
  }
  ae_buf_byte(out, '\'');
  for (const char *at = text; *at; at++) {
    if (*at == '\'')
      ae_buf_printf(out, "'\\''");
    else
      ae_buf_byte(out, (uint8_t)*at);
  }
  ae_buf_byte(out, '\'');
}

int ae__new_run(const ae__args *args) {
  const char *dir = args->rest[0];
  ae_error err = {0};
  ae_status status = dir[0] ? make_empty(dir, &err)
                            : ae_error_set(&err, AE_USAGE, "DIR is empty");
  if (status == AE_OK) status = fill(dir, &err);
  if (status != AE_OK) return ae__complain(args, &err);
  ae_buf shown = {0};
  quote(dir, &shown);
  const char *name = ae_buf_cstr(&shown);
  bool dash = name[0] == '\'' && dir[0] == '-';
  printf(
      "Made %s: an account in bank/account.lua, its spec, and commands to "
      "run.\n\n"
      "  cd %s%s\n"
      "  aether test                   # the specs\n"
      "  aether exec commands.ndjson   # commands in, events out\n"
      "  aether state bank/account/a-1\n"
      "  aether replay bank/account/a-1\n\n"
      "Then change bank/account.lua, and see `aether help`.\n",
      dir, dash ? "-- " : "", name);
  ae_buf_clear(&shown);
  return 0;
}
