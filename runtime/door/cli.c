#include "door/cli.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "door/subcommand.h"
#include "door/terminal.h"

int ae__version_run(const ae__args *args) {
  if (ae__args_json(args))
    printf("{\"name\":\"aether\",\"version\":\"%s\"}\n", AE_VERSION);
  else
    printf("aether %s\n", AE_VERSION);
  return 0;
}

/* What may stand before the subcommand. Returns its place in argv, argc for
 * none, or -1 where something is wrong. */
static int before(int argc, char **argv, const char **app) {
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; at++) {
    if (strcmp(argv[at], "-C") == 0 && at + 1 < argc)
      *app = argv[++at];
    else if (argv[at][1] == 'C' && argv[at][2])
      *app = argv[at] + 2;
    else if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0 ||
             strcmp(argv[at], "--version") == 0)
      return at;
    else {
      ae__say(
          "%s is nothing that stands before a subcommand; see `aether help`",
          argv[at]);
      return -1;
    }
  }
  return at;
}

static int run(const ae__subcommand *one, const char *app, int argc,
               char **argv) {
  ae_error err = {0};
  bool help = false;
  ae__args args = {.of = one, .app = app};
  args.rest = ae_alloc(sizeof(char *) * (size_t)(argc + 1));
  int exit = 0;
  /* `new` and `bench` would read DIR as something that it is not. */
  bool misleads = one->run == ae__new_run || one->run == ae__bench_run;
  if (app && misleads) {
    ae_error_set(&err, AE_USAGE, "`aether %s` takes no -C", one->name);
    exit = ae__complain(NULL, &err);
  } else if (ae__args_parse(&args, argc, argv, &help, &err) != AE_OK) {
    exit = ae__complain(&args, &err);
  } else if (help) {
    ae__help_one(stdout, one);
  } else {
    exit = one->run(&args);
  }
  ae_free(args.rest);
  ae_error_clear(&err);
  return ae__finish_out(exit);
}

/* A closed standard stream would be the number of the next file opened: what
 * is printed would go into the store. In its place comes one that fails. */
static void hold_streams(void) {
  static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};
  for (int fd = 0; fd < 3; fd++)
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", modes[fd]);
}

int ae_cli_main(int argc, char **argv) {
  hold_streams();
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a full disk */
  if (!ae_fault_from_env()) return ae_status_exit(AE_USAGE);
  const char *app = NULL, *nearest = "";
  int at = before(argc, argv, &app);
  if (at < 0) return ae_status_exit(AE_USAGE);
  if (at >= argc) {
    ae__help_all(stderr);
    return ae_status_exit(AE_USAGE);
  }
  const char *name = argv[at];
  if (strcmp(name, "--version") == 0) name = "version";
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
  const ae__subcommand *one = ae__subcommand_find(name, &nearest);
  if (!one) return ae__unknown_subcommand(name, nearest);
  return run(one, app, argc - at - 1, argv + at + 1);
}
