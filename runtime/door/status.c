/* `aether status`: what a running node says of itself, for people what is
 * wrong first. */
#include "base/json.h"
#include "base/pack.h"
#include "door/session.h"
#include "door/terminal.h"

/* -- fields of the document; what is not there is empty, 0 or false -- */

static ae_str at(ae_str map, const char *key) {
  ae_str value = {0};
  ae_unpack_field(map, key, &value);
  return value;
}

static ae_str text_at(ae_str map, const char *key) {
  ae_str text = {0};
  ae_unpack cursor = ae_unpack_of(at(map, key));
  ae_unpack_str(&cursor, &text);
  return text;
}

static uint64_t uint_at(ae_str map, const char *key) {
  uint64_t number = 0;
  ae_unpack cursor = ae_unpack_of(at(map, key));
  ae_unpack_uint(&cursor, &number);
  return number;
}

static double number_at(ae_str map, const char *key) {
  ae_pack_item item;
  ae_unpack cursor = ae_unpack_of(at(map, key));
  if (!ae_unpack_next(&cursor, &item)) return 0;
  if (item.type == AE_PACK_UINT) return (double)item.u;
  return item.type == AE_PACK_DOUBLE ? item.d : 0;
}

static bool true_at(ae_str map, const char *key) {
  ae_pack_item item;
  ae_unpack cursor = ae_unpack_of(at(map, key));
  return ae_unpack_next(&cursor, &item) && item.type == AE_PACK_BOOL && item.b;
}

/* -- for people -- */

static const char *plural(uint64_t count) {
  return count == 1 ? "" : "s";
}

static void print_duration(double seconds) {
  uint64_t s = (uint64_t)seconds;
  if (s >= 86400)
    printf("%llu d %llu h", (unsigned long long)(s / 86400),
           (unsigned long long)(s / 3600 % 24));
  else if (s >= 3600)
    printf("%llu h %llu min", (unsigned long long)(s / 3600),
           (unsigned long long)(s / 60 % 60));
  else if (s >= 60)
    printf("%llu min %llu s", (unsigned long long)(s / 60),
           (unsigned long long)(s % 60));
  else
    printf("%llu s", (unsigned long long)s);
}

/* Text of the node's, which may hold anything, without line breaks. */
static void print_text(ae_str text) {
  for (size_t i = 0; i < text.len; i++) {
    unsigned char c = (unsigned char)text.ptr[i];
    putchar(c < ' ' || c == 0x7f ? ' ' : c);
  }
}

static void print_wrong(ae_str status) {
  uint32_t count = 0;
  ae_unpack cursor = ae_unpack_of(at(status, "wrong"));
  ae_unpack_array(&cursor, &count);
  for (uint32_t i = 0; i < count; i++) {
    ae_str one;
    if (!ae_unpack_skip(&cursor, &one)) return;
    ae_str ns = text_at(one, "namespace");
    printf("%swrong%s ", ae__color(stdout, AE__RED),
           ae__color(stdout, AE__PLAIN));
    if (ns.len > 0) printf("%.*s: ", AE_FMT(ns));
    print_text(text_at(one, "message"));
    printf(" (%.*s)\n", AE_FMT(text_at(one, "code")));
  }
}

static void print_node(ae_str status, const char *url) {
  bool ready = true_at(status, "ready");
  bool draining = true_at(status, "draining");
  printf("%s%s%s  node %.*s, aether %.*s, process %llu, up ",
         ae__color(stdout, ready ? AE__GREEN : AE__RED),
         draining ? "stopping"
         : ready  ? "ready"
                  : "not ready",
         ae__color(stdout, AE__PLAIN), AE_FMT(text_at(status, "node")),
         AE_FMT(text_at(status, "version")),
         (unsigned long long)uint_at(status, "pid"));
  print_duration(number_at(status, "uptime_s"));
  printf(", %s\n", url);
}

static void print_events(ae_str store) {
  uint64_t events = uint_at(store, "events");
  uint64_t actors = uint_at(store, "actors");
  printf("%s event%s of %s actor%s", ae__count(events), plural(events),
         ae__count(actors), plural(actors));
}

static void print_store(ae_str store) {
  printf("store  %.*s: %.*s\n", AE_FMT(text_at(store, "url")),
         AE_FMT(text_at(store, "promise")));
  ae_str error = at(store, "error");
  if (error.len > 0) {
    printf("  %s", ae__color(stdout, AE__RED));
    print_text(text_at(error, "message"));
    printf("%s\n", ae__color(stdout, AE__PLAIN));
  } else if (at(store, "commits").len > 0) {
    uint64_t commits = uint_at(store, "commits");
    uint64_t file = uint_at(store, "file_bytes");
    printf("  ");
    print_events(store);
    printf(" in %s commit%s, %s", ae__count(commits), plural(commits),
           ae__size(uint_at(store, "bytes")));
    if (file > 0) printf("; file %s", ae__size(file));
    printf("\n");
  }
}

static void print_refused(ae_str refused) {
  uint32_t count = 0;
  ae_unpack cursor = ae_unpack_of(refused);
  ae_unpack_map(&cursor, &count);
  for (uint32_t i = 0; i < count; i++) {
    ae_str name;
    uint64_t number = 0;
    ae_unpack_str(&cursor, &name);
    if (!ae_unpack_uint(&cursor, &number)) return;
    if (number > 0)
      printf("  %s%s command%s refused%s: above limits.%.*s\n",
             ae__color(stdout, AE__YELLOW), ae__count(number), plural(number),
             ae__color(stdout, AE__PLAIN), AE_FMT(name));
  }
}

static ae_str type_of(ae_str types, ae_str name) {
  uint32_t count = 0;
  ae_unpack cursor = ae_unpack_of(types);
  ae_unpack_map(&cursor, &count);
  for (uint32_t i = 0; i < count; i++) {
    ae_str key, value;
    if (!ae_unpack_str(&cursor, &key) || !ae_unpack_skip(&cursor, &value))
      break;
    if (ae_str_eq(key, name)) return value;
  }
  return (ae_str){0};
}

static void print_modules(ae_str ns) {
  uint32_t count = 0;
  ae_str types = at(ns, "types");
  ae_unpack cursor = ae_unpack_of(at(ns, "modules"));
  ae_unpack_array(&cursor, &count);
  for (uint32_t i = 0; i < count; i++) {
    ae_str module;
    if (!ae_unpack_skip(&cursor, &module)) return;
    ae_str name = text_at(module, "name");
    ae_str counts = type_of(types, name);
    printf("  %.*s %.*s", AE_FMT(text_at(module, "kind")), AE_FMT(name));
    if (counts.len > 0) {
      uint64_t commands = uint_at(counts, "commands");
      uint64_t events = uint_at(counts, "events");
      printf(": %s command%s, %s accepted, %s rejected, ", ae__count(commands),
             plural(commands), ae__count(uint_at(counts, "accepted")),
             ae__count(uint_at(counts, "rejected")));
      printf("%s conflicts, %s failed; %s event%s",
             ae__count(uint_at(counts, "conflicts")),
             ae__count(uint_at(counts, "failed")), ae__count(events),
             plural(events));
    }
    printf("\n");
  }
}

static void print_bus(ae_str bus) {
  uint64_t listeners = uint_at(bus, "subscriptions");
  uint64_t dropped = uint_at(bus, "dropped");
  if (listeners == 0 && uint_at(bus, "delivered") == 0 && dropped == 0) return;
  printf("  bus: %s listening, %s delivered", ae__count(listeners),
         ae__count(uint_at(bus, "delivered")));
  if (dropped > 0)
    printf(", %s%s dropped%s", ae__color(stdout, AE__YELLOW),
           ae__count(dropped), ae__color(stdout, AE__PLAIN));
  printf("\n");
}

static void print_namespaces(ae_str all) {
  uint32_t count = 0;
  ae_unpack cursor = ae_unpack_of(all);
  ae_unpack_map(&cursor, &count);
  for (uint32_t i = 0; i < count; i++) {
    ae_str name, ns;
    if (!ae_unpack_str(&cursor, &name) || !ae_unpack_skip(&cursor, &ns)) return;
    ae_str store = at(ns, "store");
    printf("%s%.*s%s  ", ae__color(stdout, AE__BOLD), AE_FMT(name),
           ae__color(stdout, AE__PLAIN));
    print_events(store);
    printf(", %s live; %s of script memory; revision %.*s\n",
           ae__count(uint_at(ns, "live_actors")),
           ae__size(uint_at(ns, "memory_bytes")),
           AE_FMT(text_at(ns, "revision")));
    print_modules(ns);
    print_refused(at(ns, "refused"));
    print_bus(at(ns, "bus"));
  }
}

static void print_all(ae_str status, const char *url) {
  print_wrong(status);
  print_node(status, url);
  print_store(at(status, "store"));
  print_namespaces(at(status, "namespaces"));
}

int ae__status_run(const ae__args *args) {
  ae__session session;
  int exit = ae__session_reach(&session, args);
  if (exit != 0) return exit;
  ae__call call = {.path = "/v1/admin/status"};
  ae_buf packed = {0};
  ae_status status = ae__client_call(session.client, &call, &session.err);
  if (status == AE_OK)
    status = ae_json_read(ae_buf_view(&call.answer), &packed, &session.err);
  if (status != AE_OK) {
    exit = ae__complain(args, &session.err);
  } else {
    ae_str document = ae_buf_view(&packed);
    if (!true_at(document, "ready")) exit = ae_status_exit(AE_REJECTED);
    if (ae__args_json(args))
      fwrite(call.answer.ptr, 1, call.answer.len, stdout);
    else
      print_all(document, ae__client_url(session.client));
  }
  ae_buf_clear(&packed);
  ae_buf_clear(&call.answer);
  ae__session_clear(&session);
  return exit;
}
