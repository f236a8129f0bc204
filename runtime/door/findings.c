#include "door/findings.h"

#include "base/json.h"
#include "base/pack.h"
#include "door/diff.h"

#define CHANGES_MAX                                                 \
  (16u << 10)         /* bytes of changes that are shown of a state \
                       */
#define VALUE_MAX 120 /* bytes of a value in text */

static const char *const kinds[] = {"mistake", "failure", "difference", "note"};

void ae__finding_pack(const ae_reload_finding *finding, ae_buf *out) {
  ae_buf changes = {0};
  if (finding->kind == AE_RELOAD_DIFFERENCE &&
      finding->before.len + finding->after.len < 16 * CHANGES_MAX)
    ae__diff_pack(finding->before, finding->after, &changes);
  if (changes.len > CHANGES_MAX) ae_buf_clear(&changes);
  ae_pack_map(out, 5 + finding->err->nfacts + (changes.len > 0));
  ae_pack_cstr(out, "kind");
  ae_pack_cstr(out, kinds[finding->kind]);
  ae_pack_cstr(out, "refuses");
  ae_pack_bool(out, finding->refuses);
  ae_pack_cstr(out, "namespace");
  ae_pack_text(out, finding->ns);
  ae_pack_cstr(out, "code");
  ae_pack_cstr(out, ae_status_word(finding->err->status));
  ae_pack_cstr(out, "message");
  ae_pack_text(out, ae_buf_view(&finding->err->message));
  ae_buf_str(out, ae_buf_view(&finding->err->facts));
  if (changes.len > 0) {
    ae_pack_cstr(out, "changes");
    ae_buf_str(out, ae_buf_view(&changes));
  }
  ae_buf_clear(&changes);
}

static ae_str text_of(ae_str map, const char *key) {
  ae_str value, text = {0};
  if (!ae_unpack_field(map, key, &value)) return text;
  ae_unpack cursor = ae_unpack_of(value);
  ae_unpack_str(&cursor, &text);
  return text;
}

static uint64_t number_of(ae_str map, const char *key) {
  ae_str value;
  uint64_t number = 0;
  if (!ae_unpack_field(map, key, &value)) return 0;
  ae_unpack cursor = ae_unpack_of(value);
  ae_unpack_uint(&cursor, &number);
  return number;
}

static double double_of(ae_str map, const char *key) {
  ae_str value;
  ae_pack_item item;
  if (!ae_unpack_field(map, key, &value)) return 0;
  ae_unpack cursor = ae_unpack_of(value);
  if (!ae_unpack_next(&cursor, &item)) return 0;
  return item.type == AE_PACK_DOUBLE ? item.d : (double)item.u;
}

static void add_value(ae_buf *out, ae_str change, const char *key) {
  ae_str value;
  if (!ae_unpack_field(change, key, &value)) {
    ae_buf_printf(out, "(nothing)");
    return;
  }
  size_t before = out->len;
  ae_json_write(value, out);
  if (out->len - before <= VALUE_MAX) return;
  out->len = before + VALUE_MAX;
  while (((uint8_t)out->ptr[out->len] & 0xc0) == 0x80) out->len--;
  ae_buf_printf(out, "…");
}

void ae__finding_text(ae_str packed, ae_buf *out) {
  ae_str kind = text_of(packed, "kind");
  ae_str message = text_of(packed, "message");
  ae_buf_printf(out, "%s%.*s\n",
                ae_str_eq(kind, AE_STR("note")) ? "note: " : "",
                AE_FMT(message));
  ae_str list, change;
  uint32_t count;
  if (!ae_unpack_field(packed, "changes", &list)) return;
  ae_unpack cursor = ae_unpack_of(list);
  if (!ae_unpack_array(&cursor, &count)) return;
  for (uint32_t i = 0; i < count && ae_unpack_skip(&cursor, &change); i++) {
    ae_str path = text_of(change, "path");
    ae_buf_printf(out, "    %.*s: ", AE_FMT(path));
    add_value(out, change, "before");
    ae_buf_printf(out, " → ");
    add_value(out, change, "after");
    ae_buf_byte(out, '\n');
  }
}

static void put_text(ae_buf *out, const char *key, ae_str text) {
  ae_pack_cstr(out, key);
  ae_pack_text(out, text);
}

static void put_uint(ae_buf *out, const char *key, uint64_t number) {
  ae_pack_cstr(out, key);
  ae_pack_uint(out, number);
}

static void put_double(ae_buf *out, const char *key, double number) {
  ae_pack_cstr(out, key);
  ae_pack_double(out, (double)(int64_t)(number * 1000) / 1000);
}

void ae__reloaded_pack(const ae_reloaded *one, ae_buf *out) {
  ae_pack_map(out, 9);
  put_text(out, "namespace", one->ns);
  put_text(out, "revision", ae_str_of(one->revision));
  put_text(out, "was", ae_str_of(one->was));
  put_uint(out, "actors", one->actors);
  put_uint(out, "skipped", one->skipped);
  put_uint(out, "events", one->events);
  put_double(out, "load_ms", one->load_ms);
  put_double(out, "judge_ms", one->judge_ms);
  put_double(out, "swap_us", one->swap_us);
}

void ae__reloaded_text(ae_str packed, bool dry_run, ae_buf *out) {
  ae_str ns = text_of(packed, "namespace");
  ae_str revision = text_of(packed, "revision"), was = text_of(packed, "was");
  ae_buf_printf(out, "%.*s  revision %.*s", AE_FMT(ns), AE_FMT(revision));
  if (ae_str_eq(revision, was)) {
    ae_buf_printf(out, ", as before");
  } else {
    ae_buf_printf(out, " (%s %.*s)", dry_run ? "now" : "was", AE_FMT(was));
  }
  uint64_t actors = number_of(packed, "actors");
  if (actors > 0)
    ae_buf_printf(out, "; %llu actors replayed in %.0f ms",
                  (unsigned long long)actors, double_of(packed, "judge_ms"));
  ae_buf_byte(out, '\n');
}
