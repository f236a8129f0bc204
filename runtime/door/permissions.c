/* `aether nats-permissions`: a tenant's account, for nats-server's settings.
 *
 * An account of its own, because permissions alone do not part tenants who
 * share one: who may make a stream or a consumer may have the server itself
 * copy another's stream into it, or deliver to another's subjects. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/pack.h"
#include "door/subcommand.h"
#include "door/terminal.h"
#include "namespace/encode.h"
#include "namespace/name.h"
#include "store/read.h"

typedef struct tenant {
  ae_str ns;
  const char *nkey; /* public; NULL: user and password */
  ae_buf encoded;
  ae_buf password;           /* the variable that holds it */
  ae_buf publish, subscribe; /* subjects, msgpack, without their heads */
  uint32_t publishes, subscribes;
} tenant;

static void publish(void *data, const char *subject) {
  tenant *t = data;
  ae_pack_cstr(&t->publish, subject);
  t->publishes++;
}

static void subscribe(tenant *t, const char *subject) {
  ae_pack_cstr(&t->subscribe, subject);
  t->subscribes++;
}

static void make(tenant *t) {
  ae_buf text = {0};
  ae_encode(t->ns, &t->encoded);
  ae_buf_str(&t->password, AE_STR("AETHER_NATS_PASSWORD_"));
  /* A variable's name holds no `-`. */
  for (size_t i = 0; i < t->encoded.len; i++) {
    if (t->encoded.ptr[i] == '-')
      ae_buf_str(&t->password, AE_STR("_2d"));
    else
      ae_buf_byte(&t->password, (uint8_t)t->encoded.ptr[i]);
  }
  ae_store_subjects(t->ns, publish, t);
  ae_buf_printf(&text, "aether.events.%.*s", AE_FMT(t->ns));
  publish(t, ae_buf_cstr(&text));
  subscribe(t, ae_buf_cstr(&text));
  ae_buf_reset(&text);
  ae_buf_printf(&text, "aether.commands.%s.>", ae_buf_cstr(&t->encoded));
  publish(t, ae_buf_cstr(&text));
  subscribe(t, ae_buf_cstr(&text));
  publish(t, "_INBOX.>"); /* answers; inboxes are the account's own */
  subscribe(t, "_INBOX.>");
  ae_buf_clear(&text);
}

static void print_subjects(const char *what, const ae_buf *list,
                           uint32_t count) {
  ae_unpack at = ae_unpack_of(ae_buf_view(list));
  ae_str subject;
  printf("        %s: { allow: [\n", what);
  while (count-- && ae_unpack_str(&at, &subject))
    printf("          \"%.*s\"\n", AE_FMT(subject));
  printf("        ] }\n");
}

static void print_text(const tenant *t) {
  printf(
      "# The namespace %.*s for nats-server, by `aether "
      "nats-permissions`.\n",
      AE_FMT(t->ns));
  printf("# In its settings: accounts { include \"THIS FILE\" }\n");
  if (!t->nkey)
    printf("# The password comes from the server's environment: $%.*s\n",
           AE_FMT(t->password));
  printf("\"%.*s\": {\n  jetstream: enabled\n  users: [\n    {\n",
         AE_FMT(t->ns));
  if (t->nkey)
    printf("      nkey: \"%s\"\n", t->nkey);
  else
    printf("      user: \"%.*s\"\n      password: $%.*s\n", AE_FMT(t->ns),
           AE_FMT(t->password));
  printf("      permissions: {\n");
  print_subjects("publish", &t->publish, t->publishes);
  print_subjects("subscribe", &t->subscribe, t->subscribes);
  printf("      }\n    }\n  ]\n}\n");
}

static void print_json(const tenant *t) {
  ae_buf packed = {0}, text = {0};
  ae_pack_map(&packed, t->nkey ? 4 : 5);
  ae_pack_cstr(&packed, "account");
  ae_pack_text(&packed, t->ns);
  if (t->nkey) {
    ae_pack_cstr(&packed, "nkey");
    ae_pack_cstr(&packed, t->nkey);
  } else {
    ae_pack_cstr(&packed, "user");
    ae_pack_text(&packed, t->ns);
    ae_pack_cstr(&packed, "password_variable");
    ae_pack_text(&packed, ae_buf_view(&t->password));
  }
  ae_pack_cstr(&packed, "publish");
  ae_pack_array(&packed, t->publishes);
  ae_buf_str(&packed, ae_buf_view(&t->publish));
  ae_pack_cstr(&packed, "subscribe");
  ae_pack_array(&packed, t->subscribes);
  ae_buf_str(&packed, ae_buf_view(&t->subscribe));
  ae_json_write(ae_buf_view(&packed), &text);
  printf("%s\n", ae_buf_cstr(&text));
  ae_buf_clear(&packed);
  ae_buf_clear(&text);
}

/* `U` and 55 of base32. A seed begins with `S`, and must not be printed. */
static ae_status check_nkey(const char *nkey, ae_error *err) {
  static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  if (strlen(nkey) == 56 && nkey[0] == 'U' && strspn(nkey, base32) == 56)
    return AE_OK;
  return ae_error_set(err, AE_USAGE,
                      "--nkey takes the public key of a user: U and 55 of A-Z "
                      "and 2-7, as `nk -inkey FILE -pubout` prints it");
}

int ae__permissions_run(const ae__args *args) {
  ae_error err = {0};
  tenant t = {.ns = ae_str_of(args->rest[0]),
              .nkey = ae__args_get(args, "nkey")};
  ae_status status = ae_namespace_check(t.ns, &err);
  if (status == AE_OK && t.nkey) status = check_nkey(t.nkey, &err);
  if (status != AE_OK) return ae__complain(args, &err);
  make(&t);
  if (ae__args_json(args))
    print_json(&t);
  else
    print_text(&t);
  ae_buf_clear(&t.encoded);
  ae_buf_clear(&t.password);
  ae_buf_clear(&t.publish);
  ae_buf_clear(&t.subscribe);
  return 0;
}
