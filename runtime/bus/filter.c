#include <stdlib.h>

#include "bus/internal.h"
#include "namespace/name.h"

#define EVENT_TYPE_MAX 255 /* far beyond what anybody calls an event */

static ae_status refuse(ae_error *err, const char *what, ae_str text,
                        const char *why) {
  ae_error_set(err, AE_INVALID_NAME, "%s", "");
  ae_error_quote(err, text);
  ae_error_add(err, " is no %s: %s", what, why);
  return AE_INVALID_NAME;
}

static const char actor_rule[] =
    "write TYPE/ID, each a name, '*', or the start of a name and '*'; for "
    "example account/* or account/eu-*";

/* A last '*' is a wildcard, any other stands for itself: ids may hold it. */
static ae__part part_of(ae_str text) {
  bool prefix = text.len > 0 && text.ptr[text.len - 1] == '*';
  return (ae__part){.text = {text.ptr, text.len - prefix}, .prefix = prefix};
}

static bool is_type(const ae__part *part) {
  if (part->prefix && part->text.len == 0) return true;
  /* A prefix of a type looks like a module's name, also "events". */
  if (part->prefix) return ae_module_check(part->text, NULL) == AE_OK;
  return ae_type_check(part->text, NULL) == AE_OK;
}

static bool is_id(const ae__part *part) {
  if (part->prefix && part->text.len == 0) return true;
  return ae_id_check(part->text, NULL) == AE_OK;
}

static ae_status read_actor(ae__filter *filter, ae_str actor, ae_error *err) {
  filter->any_actor = actor.len == 0;
  if (filter->any_actor) return AE_OK;
  const char *slash = memchr(actor.ptr, '/', actor.len);
  if (!slash) return refuse(err, "pattern of actors", actor, actor_rule);
  size_t at = (size_t)(slash - actor.ptr);
  filter->type = part_of((ae_str){actor.ptr, at});
  filter->id = part_of((ae_str){slash + 1, actor.len - at - 1});
  if (!is_type(&filter->type) || !is_id(&filter->id))
    return refuse(err, "pattern of actors", actor, actor_rule);
  return AE_OK;
}

ae_status ae__filter_init(ae__filter *filter,
                          const ae_subscription_options *options,
                          ae_error *err) {
  *filter =
      (ae__filter){.types = options->types, .type_count = options->type_count};
  for (size_t i = 0; i < options->type_count; i++) {
    ae_str type = options->types[i];
    if (type.len == 0 || type.len > EVENT_TYPE_MAX || !ae_str_utf8(type))
      return refuse(err, "type of events", type,
                    "use the name that the aggregate gives it, for example "
                    "Deposited");
  }
  return read_actor(filter, options->actor, err);
}

static int by_bytes(const void *a, const void *b) {
  return ae_str_cmp(*(const ae_str *)a, *(const ae_str *)b);
}

void ae__types_sort(ae_str *types, size_t count) {
  if (count > 1) qsort(types, count, sizeof *types, by_bytes);
}

static bool fits(const ae__part *part, ae_str name) {
  if (!part->prefix) return ae_str_eq(part->text, name);
  return name.len >= part->text.len &&
         ae_str_eq(part->text, (ae_str){name.ptr, part->text.len});
}

bool ae__filter_actor(const ae__filter *filter, const ae_ref *ref) {
  return filter->any_actor ||
         (fits(&filter->type, ref->type) && fits(&filter->id, ref->id));
}
