/* New code against the old: what the old one takes of stored events, the new
 * one must take, or nothing of the kind is stored. Whether it is, the store
 * tells: all its events of the namespace are looked at, up to the first of each
 * kind that is missing. */
#include "base/mem.h"
#include "node/reloading.h"
#include "store/replay.h"

#define PAGE (64u << 10) /* bytes looked at in one turn of the loop */

typedef struct ae__missing {
  struct ae__missing *next;
  ae_str module;
  ae_str type;       /* len 0: the aggregate as a whole */
  uint64_t revision; /* of the type */
  char names[];
} missing;

static void add(ae__contract *it, ae_str module, ae_str type,
                uint64_t revision) {
  missing *one = ae_alloc(sizeof *one + module.len + type.len);
  memcpy(one->names, module.ptr, module.len);
  if (type.len) memcpy(one->names + module.len, type.ptr, type.len);
  one->module = (ae_str){one->names, module.len};
  one->type = (ae_str){one->names + module.len, type.len};
  one->revision = revision;
  one->next = it->missing;
  it->missing = one;
}

static void compare_types(ae__contract *it, const ae_module *old,
                          const ae_module *fresh) {
  ae_str type;
  uint64_t last;
  for (size_t i = 0; ae_module_type_at(old, i, &type, &last); i++)
    for (uint64_t revision = 1; revision <= last; revision++)
      if (ae_module_takes(old, type, revision) &&
          !ae_module_takes(fresh, type, revision))
        add(it, ae_module_name(old), type, revision);
}

static bool has_command(const ae_module *module, const char *name) {
  const char *command;
  for (size_t i = 0; (command = ae_module_command_at(module, i)); i++)
    if (strcmp(command, name) == 0) return true;
  return false;
}

static void compare_commands(ae_str ns, const ae_module *old,
                             const ae_module *fresh,
                             void (*gone)(void *data, const ae_error *err),
                             void *data) {
  const char *command;
  for (size_t i = 0; (command = ae_module_command_at(old, i)); i++) {
    if (has_command(fresh, command)) continue;
    ae_error err = {0};
    ae_error_set(&err, AE_UNKNOWN_COMMAND,
                 "%.*s/%.*s has no command %s any more", AE_FMT(ns),
                 AE_FMT(ae_module_name(old)), command);
    ae_error_str(&err, "module", ae_module_name(old));
    gone(data, &err);
    ae_error_clear(&err);
  }
}

void ae__contract_commands(ae_str ns, ae_script *old, ae_script *fresh,
                           void (*gone)(void *data, const ae_error *err),
                           void *data) {
  const ae_module *one;
  ae_module *other;
  for (size_t i = 0; (one = ae_script_module_at(old, i)); i++)
    if (ae_module_kind_of(one) == AE_MODULE_AGGREGATE &&
        ae_script_aggregate(fresh, ae_module_name(one), &other, NULL) == AE_OK)
      compare_commands(ns, one, other, gone, data);
}

static void on_gone(void *data, const ae_error *err) {
  ae__contract *it = data;
  it->note(it, err);
}

static void compare(ae__contract *it) {
  const ae_module *old;
  for (size_t i = 0; (old = ae_script_module_at(it->room->script, i)); i++) {
    ae_module *fresh;
    if (ae_module_kind_of(old) != AE_MODULE_AGGREGATE) continue;
    if (ae_script_aggregate(it->fresh, ae_module_name(old), &fresh, NULL) !=
        AE_OK) {
      add(it, ae_module_name(old), (ae_str){0}, 0);
    } else {
      compare_types(it, old, fresh);
    }
  }
  ae__contract_commands(it->room->name, it->room->script, it->fresh, on_gone,
                        it);
}

/* -- what of it is stored -- */

static void tell(ae__contract *it, const missing *one, const ae_event *event) {
  ae_error err = {0};
  ae_buf actor = {0};
  ae_ref_format(&event->ref, &actor);
  if (one->type.len == 0)
    ae_error_set(&err, AE_CONTRACT_ERROR,
                 "the aggregate %.*s is gone, and the store holds events of it "
                 "(%s): put it back, or delete them first",
                 AE_FMT(one->module), ae_buf_cstr(&actor));
  else
    ae_error_set(
        &err, AE_CONTRACT_ERROR,
        "%.*s takes %.*s of revision %llu no more, and such events are "
        "stored (%s, version %llu): keep evolve.%.*s, or write an "
        "upcast from there",
        AE_FMT(one->module), AE_FMT(one->type),
        (unsigned long long)one->revision, ae_buf_cstr(&actor),
        (unsigned long long)event->version, AE_FMT(one->type));
  ae_error_str(&err, "module", one->module);
  ae_error_str(&err, "actor", ae_buf_view(&actor));
  ae_error_uint(&err, "version", event->version);
  it->lost(it, &err);
  ae_error_clear(&err);
  ae_buf_clear(&actor);
}

static void look_at(ae__contract *it, const ae_event *event) {
  for (missing **link = &it->missing; *link;) {
    missing *one = *link;
    bool is_it = ae_str_eq(one->module, event->ref.type) &&
                 (one->type.len == 0 || (ae_str_eq(one->type, event->type) &&
                                         one->revision == event->revision));
    if (!is_it) {
      link = &one->next;
      continue;
    }
    tell(it, one, event);
    *link = one->next;
    ae_free(one);
  }
}

static void finish(ae__contract *it, ae_status status, const ae_error *err) {
  while (it->missing) {
    missing *one = it->missing;
    it->missing = one->next;
    ae_free(one);
  }
  if (it->stopped) status = AE_CANCELED;
  it->done(it, status, err);
}

static void on_page(ae_scan *scan, ae_status status, const ae_page *page,
                    const ae_error *err) {
  ae__contract *it = scan->data;
  if (status != AE_OK) {
    finish(it, status, err);
    return;
  }
  ae_replay replay;
  ae_event event;
  ae_replay_init(&replay, page, 0, UINT64_MAX);
  while ((status = ae_replay_next(&replay, &event, NULL)) != AE_NOT_FOUND)
    if (status == AE_OK) look_at(it, &event); /* damage is not its matter */
  if (it->missing && !page->end && !it->stopped) {
    ae_scan_more(scan);
    return;
  }
  if (!page->end) ae_scan_end(scan);
  finish(it, AE_OK, NULL);
}

static void begin(ae_task *task) {
  ae__contract *it = AE_CONTAINER(task, ae__contract, task);
  ae_error err = {0};
  compare(it);
  it->scan = (ae_scan){.ns = it->room->name,
                       .until = UINT64_MAX,
                       .page = PAGE,
                       .cb = on_page,
                       .data = it};
  ae_status status = AE_OK;
  if (it->missing && it->node->store)
    status = ae_store_scan(it->node->store, &it->scan, &err);
  if (!it->missing || !it->node->store || status != AE_OK)
    finish(it, status, &err);
  ae_error_clear(&err);
}

void ae__contract_check(ae__contract *contract) {
  contract->missing = NULL;
  contract->task.run = begin;
  ae_loop_defer(contract->node->loop, &contract->task);
}
