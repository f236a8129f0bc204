/* The code that ran in a namespace: kept as text, so that one can go back.
 *
 * The list has each time that code began to run, in that order; the last one
 * runs now. What is gone back to stands where it stood: going back again leads
 * to what ran before it, not to what was just left. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/reloading.h"

#define KEPT 10

struct ae__revision {
  struct ae__revision *next; /* a later one */
  uint64_t number;           /* 1, 2, 3 … in the room */
  uint64_t stands;           /* the number of what it is: gone back to, an
                                earlier one's, else its own */
  char name[20];
  int64_t loaded;
  ae_script_source *sources; /* what they point at lies in `text` */
  size_t count;
  ae_buf text;
};

static void free_one(ae__revision *one) {
  ae_buf_clear(&one->text);
  ae_free(one->sources);
  ae_free(one);
}

static ae_str put(ae_buf *text, ae_str value) {
  ae_str copy = {text->ptr + text->len, value.len};
  ae_buf_str(text, value);
  return copy;
}

static ae__revision *make(ae_script *script) {
  ae__revision *one = ae_zalloc(sizeof *one);
  ae_str name = ae_script_revision(script);
  snprintf(one->name, sizeof one->name, "%.*s", AE_FMT(name));
  size_t size = 0;
  const ae_module *module;
  for (size_t i = 0; (module = ae_script_module_at(script, i)); i++) {
    size += ae_module_name(module).len + ae_module_source(module).len;
    one->count++;
  }
  one->sources = ae_zalloc((one->count + 1) * sizeof *one->sources);
  ae_buf_reserve(&one->text, size + 1); /* it does not move any more */
  for (size_t i = 0; i < one->count; i++) {
    module = ae_script_module_at(script, i);
    one->sources[i].name = put(&one->text, ae_module_name(module));
    one->sources[i].text = put(&one->text, ae_module_source(module));
  }
  return one;
}

static void forget_oldest(ae__room *room) {
  size_t count = 0;
  for (ae__revision *one = room->revisions; one; one = one->next) count++;
  if (count <= KEPT) return;
  ae__revision *gone = room->revisions;
  room->revisions = gone->next;
  free_one(gone);
}

void ae__revision_note(ae__room *room, ae_script *script,
                       const ae__revision *back) {
  ae__revision **link = &room->revisions, *last = NULL;
  for (; *link; link = &(*link)->next) last = *link;
  if (!last || !ae_str_eq(ae_str_of(last->name), ae_script_revision(script))) {
    ae__revision *one = make(script);
    one->number = last ? last->number + 1 : 1;
    one->stands = back ? back->stands : one->number;
    *link = last = one;
    forget_oldest(room);
  }
  last->loaded = room->loaded;
}

void ae__revisions_free(ae__room *room) {
  while (room->revisions) {
    ae__revision *one = room->revisions;
    room->revisions = one->next;
    free_one(one);
  }
}

static const ae__revision *before_last(const ae__room *room) {
  const ae__revision *last = room->revisions, *found = NULL;
  while (last && last->next) last = last->next;
  for (const ae__revision *one = room->revisions; one; one = one->next)
    if (one->number < last->stands) found = one;
  return found;
}

ae_status ae__revision_find(const ae__room *room, ae_str name,
                            const ae__revision **out, ae_error *err) {
  const ae__revision *found = name.len == 0 ? before_last(room) : NULL;
  bool several = false;
  for (const ae__revision *one = room->revisions; one; one = one->next) {
    if (name.len == 0 || name.len > strlen(one->name) ||
        memcmp(one->name, name.ptr, name.len) != 0)
      continue;
    several |= found && strcmp(found->name, one->name) != 0;
    found = one;
  }
  *out = found;
  if (found && !several) return AE_OK;
  if (name.len == 0)
    return ae_error_set(err, AE_NOT_FOUND,
                        "namespace %.*s has no revision before the current one "
                        "since the node was started",
                        AE_FMT(room->name));
  ae_error_set(err, AE_NOT_FOUND, "namespace %.*s has %s revision ",
               AE_FMT(room->name), several ? "more than one" : "no");
  ae_error_quote(err, name);
  ae_error_add(err, "; see `aether revisions %.*s`", AE_FMT(room->name));
  return AE_NOT_FOUND;
}

void ae__revision_sources(const ae__revision *revision,
                          ae_script_options *options) {
  options->sources = revision->sources;
  options->source_count = revision->count;
}

ae_status ae_node_revisions(ae_node *node, ae_str ns,
                            void (*each)(void *data, const ae_revision *one),
                            void *data, ae_error *err) {
  const ae__room *room = ae__room_of(node, ns);
  const ae_namespace_config *unused;
  if (!room) return ae_config_namespace(node->config, ns, &unused, err);
  for (const ae__revision *one = room->revisions; one; one = one->next) {
    ae_revision shown = {.revision = ae_str_of(one->name),
                         .loaded = one->loaded,
                         .current = one->next == NULL,
                         .modules = (uint32_t)one->count,
                         .sources = one->sources};
    each(data, &shown);
  }
  return AE_OK;
}
