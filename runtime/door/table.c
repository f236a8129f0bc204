#include "door/subcommand.h"

#define APP "Work on the domain"
#define RUN "Run commands"
#define LOOK "Look at what happened"
#define DATA "Data in and out"
#define CARE "Keep it well"

#define FLAG_APP \
  { "app", 'C', "DIR", "the app's folder (default: the current one)" }
#define FLAG_STORE \
  { "store", 0, "URL", "memory or sqlite:FILE (default: the app's own store)" }
#define FLAG_LISTEN                                                       \
  {                                                                       \
    "listen", 0, "HOST:PORT",                                             \
        "where the HTTP door is; port 0: any that is free (default: the " \
        "app's `listen`, else 127.0.0.1:7070)"                            \
  }
#define FLAG_NODE \
  { "node", 0, "NAME", "the node's name (default: the machine's)" }
#define FLAG_DRAIN                                                \
  {                                                               \
    "drain", 0, "SECONDS",                                        \
        "at the end, wait at most so long for what is under way " \
        "(default: 20)"                                           \
  }
#define FLAG_URL                                                   \
  {                                                                \
    "url", 0, "URL",                                               \
        "the node's address (default: AETHER_URL, else the app's " \
        "`listen`)"                                                \
  }
#define FLAG_DRY_RUN \
  { "dry-run", 0, NULL, "all but the last step: nothing changes" }
#define FLAG_JSON(text) \
  { "json", 0, NULL, text }

const ae__subcommand ae__subcommands[] = {
    {.name = "new",
     .group = APP,
     .summary = "make a small working app with a spec",
     .usage = "DIR",
     .details = "DIR must not exist yet, or be empty.",
     .example = "aether new myapp && aether -C myapp test",
     .least = 1,
     .most = 1,
     .run = ae__new_run},
    {.name = "dev",
     .group = APP,
     .summary = "run the app, reload on save, print commands and events",
     .usage = "",
     .flags = {FLAG_APP, FLAG_STORE, FLAG_LISTEN, FLAG_NODE, FLAG_DRAIN},
     .details = "As `aether run`, for the one who writes the app: each command "
                "is printed with what\n"
                "became of it and its events, and a decide that changes its "
                "state is an error.\n"
                "A save is live at once, or told what is wrong with it. Ctrl-C "
                "ends it.",
     .example = "aether dev",
     .run = ae__dev_run},
    {.name = "test",
     .group = APP,
     .summary = "run the app's specs with busted, inside the host",
     .usage = "[busted options]",
     .flags = {FLAG_APP,
               {"watch", 0, NULL, "run them again whenever a file is saved"}},
     .details = "What stands behind `test` goes to busted: files, --filter, "
                "--output and so on.\n"
                "Without a file, the specs in spec/ run. With --watch, Ctrl-C "
                "ends it.\n"
                "No time limit holds here: Ctrl-C, or a save with --watch, "
                "ends an endless loop.",
     .example = "aether test --output=TAP",
     .most = -1,
     .passes_on = true,
     .run = ae__test_run},
    {.name = "check",
     .group = APP,
     .summary = "load every module, then replay history through them",
     .usage = "",
     .flags = {FLAG_APP, FLAG_STORE, FLAG_URL,
               FLAG_JSON("one line a mistake, then a summary, as JSON")},
     .details =
         "Each mistake is reported with file and line. Where the app has a "
         "store, all\n"
         "events in it are replayed, and states are compared with the "
         "snapshots taken.\n"
         "Where a node of the app runs, also with those that its code makes; "
         "the node\n"
         "goes on undisturbed. What differs is shown, and is a mistake while\n"
         "snapshot.version stays the same. Exit status 1 where something is "
         "wrong.",
     .example = "aether check",
     .run = ae__check_run},
    {.name = "repl",
     .group = APP,
     .summary = "a Lua prompt inside a namespace, which stores nothing",
     .usage = "[NAMESPACE]",
     .flags = {FLAG_APP,
               FLAG_STORE,
               {"timeout", 0, "MS",
                "what an input may take, 1 to 3600000 (default: 5000)"}},
     .details =
         "given(event(\"Deposited\", { amount = 10 })):when(\"withdraw\", { "
         "amount = 4 }) says what\n"
         "a command would do, and given(\"account/a-1\"):when(…) what it "
         "would do to a stored\n"
         "actor; state(\"account/a-1\") shows one. help() says more.\n"
         "On a terminal: Tab completes, Ctrl-C interrupts, Ctrl-D ends. Else "
         "inputs are read\n"
         "from stdin and their results printed; exit status 1 where one "
         "failed.",
     .example = "aether repl bank",
     .most = 1,
     .run = ae__repl_run},
    {.name = "replay",
     .group = APP,
     .summary = "show each event of an actor and what it changed",
     .usage = "NAMESPACE/TYPE/ID",
     .flags = {FLAG_APP,
               {"module", 0, "FILE",
                "take the aggregate from this file instead"},
               FLAG_STORE,
               FLAG_JSON("one line an event, with state and changes, as JSON")},
     .details = "With --module a changed aggregate is tried on real history, "
                "and nothing is stored.",
     .example = "aether replay bank/account/a-1",
     .least = 1,
     .most = 1,
     .run = ae__replay_run},
    {.name = "run",
     .group = RUN,
     .summary = "run the app as a server, until it is told to stop",
     .usage = "",
     .flags = {FLAG_APP, FLAG_STORE, FLAG_LISTEN, FLAG_NODE, FLAG_DRAIN},
     .details =
         "Prints where it listens on stdout, and its log on stderr: text on a "
         "terminal, else\n"
         "one JSON object a line; AETHER_LOG=debug|info|warn|error says how "
         "much.\n"
         "SIGTERM and SIGINT end it cleanly: it takes no further connection, "
         "finishes what is\n"
         "under way, and exits with 0. A second signal ends it at once. What "
         "was acknowledged\n"
         "is stored in either case. Under systemd it says when it is ready, "
         "and feeds the\n"
         "watchdog: see scripts/aether.service.",
     .example = "aether run --listen 127.0.0.1:7070",
     .run = ae__run_run},
    {.name = "exec",
     .group = RUN,
     .summary = "run commands from a file through the app",
     .usage = "FILE|-",
     .flags = {FLAG_APP,
               FLAG_STORE,
               FLAG_URL,
               {"in-flight", 0, "N",
                "commands worked on at a time, 1 to 65536 (default: 1024)"},
               FLAG_JSON("the summary on stderr as JSON")},
     .details =
         "One command a line: "
         "{\"actor\":\"NAMESPACE/TYPE/ID\",\"command\":\"NAME\",\"data\":{}}, "
         "and where\n"
         "wanted \"id\", \"expected_version\", \"metadata\". Lines of nothing "
         "but blanks are\n"
         "left out; a line may take 8 MB. For each line one outcome on stdout, "
         "in the\n"
         "order of the lines, printed once it is durable; a summary on "
         "stderr.\n"
         "Exit status: 0 all accepted, 1 some rejected or in conflict, 3 some "
         "failed.\n"
         "Where a node of the app runs, they go through it (without --store); "
         "--in-flight is\n"
         "its own then.",
     .example = "echo '{\"actor\":\"bank/account/a-1\",\"command\":\"open\"}' "
                "| aether exec -",
     .least = 1,
     .most = 1,
     .run = ae__exec_run},
    {.name = "send",
     .group = RUN,
     .summary = "send one command to a running node",
     .usage = "NAMESPACE/TYPE/ID COMMAND [JSON|-]",
     .flags = {FLAG_APP,
               {"expect", 0, "VERSION",
                "only at this version of the actor; 0: no events yet"},
               {"id", 0, "ID",
                "sent again with the same id, it takes effect once"},
               FLAG_URL,
               FLAG_JSON("the outcome as JSON, also on a terminal")},
     .details =
         "Prints the outcome, once it is durable. JSON is the command's data; "
         "`-` reads it from\n"
         "stdin. A node that wants a token gets that of the variable "
         "AETHER_TOKEN.\n"
         "Exit status: 0 accepted, 1 rejected or in conflict, 3 failed, or no "
         "node answers.",
     .example = "aether send bank/account/a-1 deposit '{\"amount\":5}'",
     .least = 2,
     .most = 3,
     .run = ae__send_run},
    {.name = "state",
     .group = LOOK,
     .summary = "show actors' states, now or as they were",
     .usage = "NAMESPACE/TYPE/ID…|-",
     .flags = {FLAG_APP,
               {"at", 0, "VERSION", "as it was at this version"},
               FLAG_STORE,
               FLAG_URL,
               FLAG_JSON("compact JSON also on a terminal")},
     .details = "With `-` the actors' names are read from stdin, one a line.",
     .example = "aether state bank/account/a-1 --at 1",
     .least = 1,
     .most = -1,
     .run = ae__state_run},
    {.name = "events",
     .group = LOOK,
     .summary = "show stored events of a namespace or an actor",
     .usage = "NAMESPACE|NAMESPACE/TYPE/ID",
     .flags = {FLAG_APP,
               {"after", 0, "N",
                "only behind this: an actor's version, a namespace's "
                "POSITION[.INDEX]"},
               {"follow", 0, NULL, "go on with what is stored from now on"},
               {"type", 0, "T", "only events of this type"},
               FLAG_STORE,
               FLAG_URL,
               FLAG_JSON("one line an event, as JSON, also on a terminal")},
     .details =
         "Where retention removed what comes first behind N, that is said "
         "(history_trimmed),\n"
         "with exit status 3: of an actor, what is left is shown all the same.",
     .example = "aether events bank --type Deposited",
     .least = 1,
     .most = 1,
     .run = ae__events_run},
    {.name = "listen",
     .group = LOOK,
     .summary = "print events of a running node as they happen",
     .usage = "PATTERN",
     .flags = {FLAG_APP,
               {"type", 0, "T", "only events of this type; T,U: of these"},
               {"actor", 0, "P",
                "only of TYPE/ID; each a name, *, or a start and *"},
               FLAG_URL,
               FLAG_JSON("one line an event, as JSON, also on a terminal")},
     .details =
         "PATTERN is a namespace, or several: `shop.*` one more part, `>` all "
         "that follow.\n"
         "What is missed while the node is away, or dropped because it came "
         "too fast, is told;\n"
         "`aether events --follow` misses nothing. Ctrl-C ends it.",
     .example = "aether listen bank --actor 'account/a-*'",
     .least = 1,
     .most = 1,
     .run = ae__listen_run},
    {.name = "backup",
     .group = DATA,
     .summary = "copy the store into a file, beside a running node too",
     .usage = "FILE",
     .flags = {FLAG_APP,
               {"force", 0, NULL, "put it in the place of a file of that name"},
               FLAG_STORE,
               FLAG_JSON("what was copied, as JSON")},
     .details =
         "The copy holds all that was stored at one moment: a SQLite store of "
         "one file, which\n"
         "every subcommand opens with --store sqlite:FILE. It is made as "
         "FILE.partial, synced,\n"
         "read back record by record, and then named. Whoever writes the store "
         "goes on\n"
         "meanwhile. Exit status 1 where the store, and so the copy, is "
         "damaged.",
     .example = "aether backup monday.db",
     .least = 1,
     .most = 1,
     .run = ae__backup_run},
    {.name = "restore",
     .group = DATA,
     .summary = "put a backup in the place of the store",
     .usage = "FILE",
     .flags = {FLAG_APP,
               {"force", 0, NULL,
                "where a store is already; it is kept beside the new one"},
               {"damaged", 0, NULL,
                "also where FILE is damaged: what can be read of it is there"},
               FLAG_STORE,
               FLAG_JSON("what was restored, as JSON")},
     .details = "FILE is copied beside the store and read back before anything "
                "changes. Refused while\n"
                "a process writes the store; its pid is said.",
     .example = "aether backup today.db && aether restore today.db --force",
     .least = 1,
     .most = 1,
     .run = ae__restore_run},
    {.name = "export",
     .group = DATA,
     .summary = "write one namespace to stdout, to be imported elsewhere",
     .usage = "NAMESPACE",
     .flags = {FLAG_APP,
               {"skip-damaged", 0, NULL, "go on over what cannot be read"},
               FLAG_STORE,
               FLAG_JSON("the summary on stderr as JSON")},
     .details =
         "NDJSON: a first line, one line a commit with all that is kept of it, "
         "and a last line\n"
         "with counts and a sum, so that one that was cut is noticed. What is "
         "exported is what was\n"
         "stored at one moment; a running node goes on meanwhile. Where "
         "retention removed the\n"
         "beginning of a history, its base snapshot and the command ids from "
         "before stand for it.\n"
         "With --skip-damaged, a commit that keeps the versions and means "
         "nothing stands in the\n"
         "place of one that cannot be read, and the exit status is 1. Rows of "
         "projections are not\n"
         "in it: they are made from the events.",
     .example = "aether export bank | tee bank.ndjson",
     .least = 1,
     .most = 1,
     .run = ae__export_run},
    {.name = "import",
     .group = DATA,
     .summary = "take in what export wrote, as this namespace",
     .usage = "NAMESPACE [FILE|-]",
     .flags = {FLAG_APP, FLAG_STORE, FLAG_JSON("what was imported, as JSON")},
     .details =
         "Without FILE, or with -, stdin is read. Ids, command ids and their "
         "outcomes, versions,\n"
         "times and metadata stay as they were; positions are new. The "
         "namespace may have another\n"
         "name than it had. It must be empty, or hold the beginning of what "
         "comes: an import that\n"
         "was interrupted goes on where it was, and one that is done again "
         "changes nothing. A file\n"
         "is looked at whole before anything is stored; of a pipe whole "
         "commits are stored as they\n"
         "come. Refused while a process writes the store; its pid is said.",
     .example = "aether export bank | aether import bank2",
     .least = 1,
     .most = 2,
     .run = ae__import_run},
    {.name = "delete",
     .group = DATA,
     .summary = "delete all of one namespace from the store",
     .usage = "NAMESPACE",
     .flags = {FLAG_APP,
               {"yes", 0, NULL, "do not ask for the name again"},
               {"keep-room", 0, NULL, "leave the room free in the file"},
               FLAG_STORE,
               FLAG_JSON("what was deleted, as JSON")},
     .details =
         "Its events, command ids, snapshots and rows, all or nothing: what "
         "interrupts it leaves\n"
         "the namespace as it was. Other namespaces are untouched. Then what "
         "remains is written\n"
         "anew, so that the file gives the room back and holds nothing of the "
         "namespace. Refused\n"
         "while a process writes the store; its pid is said. Backups made "
         "before still hold it.",
     .example = "aether delete bank --yes",
     .least = 1,
     .most = 1,
     .run = ae__delete_run},
    {.name = "status",
     .group = CARE,
     .summary = "show how a running node is, and what is wrong with it",
     .usage = "",
     .flags = {FLAG_APP, FLAG_URL, FLAG_JSON("the node's own document")},
     .details =
         "A token needs the right `admin`, and shows the namespaces that "
         "it is for.\n"
         "Exit status: 0 ready, 1 not ready, 3 no node answers.",
     .example = "aether status",
     .run = ae__status_run},
    {.name = "reload",
     .group = CARE,
     .summary = "have a running node load its modules anew",
     .usage = "[NAMESPACE]",
     .flags = {FLAG_APP, FLAG_URL, FLAG_DRY_RUN,
               FLAG_JSON("the node's own document")},
     .details =
         "What is in the folders now is loaded beside what runs and compared "
         "with it; actors that\n"
         "were used of late are replayed through it. Then it takes over, "
         "between two commands,\n"
         "and actors are built anew from their events. A mistake, an event "
         "that would be lost,\n"
         "or another state under the same snapshot.version changes nothing, "
         "and is told. All\n"
         "namespaces, or the one named; a token needs the right `admin`.\n"
         "Exit status: 0 reloaded, 3 refused, or no node answers.",
     .example = "aether reload bank",
     .most = 1,
     .run = ae__reload_run},
    {.name = "rollback",
     .group = CARE,
     .summary = "have a running node go back to code that it had before",
     .usage = "NAMESPACE [REVISION]",
     .flags = {FLAG_APP, FLAG_URL, FLAG_DRY_RUN,
               FLAG_JSON("the node's own document")},
     .details =
         "To the code that ran before the current one, or to the revision "
         "named (its beginning\n"
         "is enough); a second time goes back further. `aether revisions` "
         "lists them. It is\n"
         "judged as a reload is. The files stay as they are: the next reload, "
         "or a restart,\n"
         "loads them.\n"
         "Exit status: 0 done, 3 refused, or no node answers.",
     .example = "aether rollback bank",
     .least = 1,
     .most = 2,
     .run = ae__rollback_run},
    {.name = "revisions",
     .group = CARE,
     .summary = "list the code that a running node has had",
     .usage = "[NAMESPACE]",
     .flags = {FLAG_APP, FLAG_URL, FLAG_JSON("the node's own document")},
     .details = "What ran in each namespace since the node was started, in "
                "that order: the last\n"
                "ten times that code took over.\n"
                "`module_revision` of an event says which of them decided it.",
     .example = "aether revisions bank",
     .most = 1,
     .run = ae__revisions_run},
    {.name = "repair",
     .group = CARE,
     .summary = "show what cannot be read of an actor, and mend it",
     .usage = "NAMESPACE/TYPE/ID",
     .flags = {FLAG_APP,
               {"skip", 0, NULL, "go over what cannot be read"},
               {"truncate", 0, NULL, "take the actor back to before it"},
               {"yes", 0, NULL, "do not ask"},
               FLAG_STORE,
               FLAG_URL,
               FLAG_JSON("one document")},
     .details =
         "An actor with a record that cannot be read is read-only "
         "(actor_damaged) until somebody\n"
         "decides. Without --skip and --truncate it is only looked at, and the "
         "exit status is 1\n"
         "where something is wrong.\n"
         "--skip      in its place comes a commit that keeps the versions, so "
         "that they have no\n"
         "            gap: events of the type $Skipped, which evolve passes "
         "over. All else stays;\n"
         "            the state is built without what was lost. Its command "
         "ids stay taken.\n"
         "--truncate  it goes, with all behind it of this actor, and their "
         "command ids; the next\n"
         "            events get their versions again.\n"
         "What goes is first written to a file beside the store, synced. Rows "
         "of projections may\n"
         "still hold it. A store that a node has is mended through it.",
     .example = "aether repair bank/account/a-1",
     .least = 1,
     .most = 1,
     .run = ae__repair_run},
    {.name = "config",
     .group = CARE,
     .summary = "show each setting and where it came from",
     .usage = "",
     .flags = {FLAG_APP, FLAG_STORE, FLAG_JSON("as one JSON document")},
     .details = "Flags come first, then variables (AETHER_STORE, AETHER_DATA, "
                "…), then aether.lua.\n"
                "A namespace's `retention` (days, bytes of records) is applied "
                "while a node runs, and\n"
                "where an exec ends.",
     .example = "AETHER_LOG=warn aether config",
     .run = ae__config_run},
    {.name = "token",
     .group = CARE,
     .summary =
         "make a token for a program or a person, who sends it over HTTP",
     .usage = "NAME",
     .flags =
         {FLAG_APP,
          {"namespaces", 0, "LIST",
           "names and patterns, parted by commas (default: >, all)"},
          {"rights", 0, "LIST",
           "of command, read, listen, admin; or none (default: command,read)"},
          FLAG_JSON("token, hash and the rest as one JSON document")},
     .details =
         "The token goes to stdout, this once; only its hash is kept, in the "
         "line for\n"
         "aether.lua that goes to stderr. Requests bring it as `Authorization: "
         "Bearer\n"
         "TOKEN`. Every token sees the metrics of its namespaces; with "
         "--rights none\n"
         "nothing else.",
     .example = "aether token ci --namespaces bank --rights command,read",
     .least = 1,
     .most = 1,
     .run = ae__token_run},
    {.name = "nats-permissions",
     .group = CARE,
     .summary = "print a namespace's account for nats-server's settings",
     .usage = "NAMESPACE",
     .flags = {{"nkey", 0, "PUBLIC",
                "the user logs in with this key (default: the user NAMESPACE, "
                "with a password)"},
               FLAG_JSON("account, user and subjects as one JSON document")},
     .details =
         "Who logs in so reaches the commands, events and streams of this "
         "namespace and nothing\n"
         "else of the server: a node that serves it, and its clients. What is "
         "printed goes into\n"
         "the server's `accounts { … }`, one for each namespace; its head "
         "names the variable of\n"
         "the server's environment that holds the password. In aether.lua: "
         "nats = { user = …,\n"
         "password = … }, or nats = { nkey = FILE }.",
     .example = "aether nats-permissions bank",
     .least = 1,
     .most = 1,
     .run = ae__permissions_run},
    {.name = "doctor",
     .group = CARE,
     .summary = "check what is installed, permitted and misconfigured",
     .usage = "",
     .flags = {FLAG_APP, FLAG_STORE, FLAG_JSON("one line a finding, as JSON")},
     .details = "Each finding comes with its mend. Exit status 1 where "
                "something needed is wrong.",
     .example = "aether doctor",
     .run = ae__doctor_run},
    {.name = "bench",
     .group = CARE,
     .summary =
         "measure this machine: commands, replay, limit, reload, bus, http …",
     .usage = "commands|replay|limit|reload|bus|http|jetstream",
     .flags = {{"store", 0, "URL",
                "memory, sqlite, sqlite:FILE; jetstream: nats://HOST:PORT"},
               {"in-flight", 0, "N",
                "at a time, 1 to 65536 (1024; reload: 64); not replay, limit"},
               {"actors", 0, "N",
                "spread over so many (10000; reload: 100000)"},
               {"seconds", 0, "S", "length of each run (default: 3)"},
               FLAG_JSON("one line a run, as JSON")},
     .details =
         "commands  bank account commands decided, stored and answered, many "
         "in flight,\n"
         "          then one at a time; for SQLite also a bare one-row "
         "commit; then the limit\n"
         "replay    stored events read from SQLite, decoded and evolved\n"
         "limit     decide and evolve with msgpack, without a store\n"
         "reload    the modules loaded anew while commands come: time to load, "
         "judge, swap,\n"
         "          and the longest pause of the commands\n"
         "bus       deliveries to 10 subscribers and to one; then commands "
         "while nobody\n"
         "          listens, one that reads, one that never does, and both\n"
         "http      commands over real sockets, from a client on a thread of "
         "its own:\n"
         "          as NDJSON, then one a request on 64 connections\n"
         "jetstream commands on a nats-server, each run beside what its client "
         "library\n"
         "          reaches alone; in a namespace of its own, deleted after "
         "it\n"
         "The store is sqlite where none is given; bus, reload: memory; "
         "jetstream: "
         "port "
         "4222 here.",
     .example = "aether bench commands --store memory --seconds 1",
     .least = 1,
     .most = 1,
     .run = ae__bench_run},
    {.name = "help",
     .group = CARE,
     .summary = "show all subcommands, or one",
     .usage = "[SUBCOMMAND]",
     .example = "aether help exec",
     .most = 1,
     .run = ae__help_run},
    {.name = "version",
     .group = CARE,
     .summary = "show the version",
     .usage = "",
     .flags = {FLAG_JSON("as JSON")},
     .example = "aether version",
     .run = ae__version_run},
    {0}};

const ae__subcommand *ae__subcommand_find(const char *name,
                                          const char **nearest) {
  ae_nearest near;
  ae_nearest_init(&near, ae_str_of(name));
  for (const ae__subcommand *one = ae__subcommands; one->name; one++) {
    if (strcmp(name, one->name) == 0) return one;
    ae_nearest_offer(&near, ae_str_of(one->name));
  }
  /* Names of the table are C strings, so what it gives is one too. */
  ae_str best = ae_nearest_best(&near);
  *nearest = best.len > 0 ? best.ptr : "";
  return NULL;
}
