#include "door/diff.h"

#include "base/json.h"
#include "base/pack.h"

typedef struct walk {
  ae_buf path;
  ae__diff_cb cb;
  void *data;
} walk;

static void compare(walk *at, ae_str before, ae_str after);

static void add_key(ae_buf *path, ae_str key) {
  ae_unpack cursor = ae_unpack_of(key);
  ae_str text;
  if (path->len > 0) ae_buf_byte(path, '.');
  if (ae_unpack_str(&cursor, &text))
    ae_buf_str(path, text);
  else
    ae_json_write(key, path);
}

/* The value of a key given as msgpack; false: not there. */
static bool value_of(ae_str map, ae_str key, ae_str *value) {
  ae_unpack cursor = ae_unpack_of(map);
  uint32_t count = 0;
  ae_unpack_map(&cursor, &count);
  for (uint32_t i = 0; i < count; i++) {
    ae_str one;
    if (!ae_unpack_skip(&cursor, &one) || !ae_unpack_skip(&cursor, value))
      return false;
    if (ae_str_eq(one, key)) return true;
  }
  return false;
}

static void compare_maps(walk *at, ae_str before, ae_str after) {
  size_t len = at->path.len;
  ae_unpack cursor = ae_unpack_of(before);
  uint32_t count = 0;
  ae_unpack_map(&cursor, &count);
  for (uint32_t i = 0; i < count; i++) {
    ae_str key, old, new = {0};
    if (!ae_unpack_skip(&cursor, &key) || !ae_unpack_skip(&cursor, &old))
      return;
    if (!value_of(after, key, &new)) new = (ae_str){0};
    add_key(&at->path, key);
    compare(at, old, new);
    at->path.len = len;
  }
  cursor = ae_unpack_of(after);
  ae_unpack_map(&cursor, &count);
  for (uint32_t i = 0; i < count; i++) {
    ae_str key, new, old;
    if (!ae_unpack_skip(&cursor, &key) || !ae_unpack_skip(&cursor, &new))
      return;
    if (value_of(before, key, &old)) continue;
    add_key(&at->path, key);
    compare(at, (ae_str){0}, new);
    at->path.len = len;
  }
}

static void compare_arrays(walk *at, ae_str before, ae_str after) {
  size_t len = at->path.len;
  ae_unpack old_cursor = ae_unpack_of(before);
  ae_unpack new_cursor = ae_unpack_of(after);
  uint32_t old_count = 0, new_count = 0;
  ae_unpack_array(&old_cursor, &old_count);
  ae_unpack_array(&new_cursor, &new_count);
  uint32_t most = old_count > new_count ? old_count : new_count;
  for (uint32_t i = 0; i < most; i++) {
    ae_str old = {0}, new = {0};
    if (i < old_count) ae_unpack_skip(&old_cursor, &old);
    if (i < new_count) ae_unpack_skip(&new_cursor, &new);
    ae_buf_printf(&at->path, "[%u]", i + 1);
    compare(at, old, new);
    at->path.len = len;
  }
}

static void compare(walk *at, ae_str before, ae_str after) {
  if (ae_str_eq(before, after)) return;
  ae_unpack old = ae_unpack_of(before), new = ae_unpack_of(after);
  uint32_t count;
  ae_unpack probe = old, other = new;
  /* Values are at most AE_PACK_DEPTH deep, so this recursion is bounded. */
  if (ae_unpack_map(&probe, &count) && ae_unpack_map(&other, &count)) {
    compare_maps(at, before, after);
    return;
  }
  probe = old;
  other = new;
  if (ae_unpack_array(&probe, &count) && ae_unpack_array(&other, &count)) {
    compare_arrays(at, before, after);
    return;
  }
  at->cb(at->data, ae_buf_view(&at->path), before, after);
}

void ae__diff(ae_str before, ae_str after, ae__diff_cb cb, void *data) {
  walk at = {.cb = cb, .data = data};
  compare(&at, before, after);
  ae_buf_clear(&at.path);
}

typedef struct packing {
  ae_buf changes;
  uint32_t count;
} packing;

static void pack_one(void *data, ae_str path, ae_str before, ae_str after) {
  packing *pack = data;
  ae_buf *out = &pack->changes;
  pack->count++;
  ae_pack_map(out, 1 + (before.len > 0) + (after.len > 0));
  ae_pack_cstr(out, "path");
  ae_pack_text(out, path);
  if (before.len > 0) {
    ae_pack_cstr(out, "before");
    ae_buf_str(out, before);
  }
  if (after.len > 0) {
    ae_pack_cstr(out, "after");
    ae_buf_str(out, after);
  }
}

void ae__diff_pack(ae_str before, ae_str after, ae_buf *out) {
  packing pack = {0};
  ae__diff(before, after, pack_one, &pack);
  ae_pack_array(out, pack.count);
  ae_buf_str(out, ae_buf_view(&pack.changes));
  ae_buf_clear(&pack.changes);
}

typedef struct writing {
  ae_buf *out;
  const char *indent;
} writing;

static void write_one(void *data, ae_str path, ae_str before, ae_str after) {
  writing *to = data;
  ae_buf_printf(to->out, "%s%.*s: ", to->indent, AE_FMT(path));
  if (before.len > 0)
    ae_json_write(before, to->out);
  else
    ae_buf_printf(to->out, "(none)");
  ae_buf_printf(to->out, " → ");
  if (after.len > 0)
    ae_json_write(after, to->out);
  else
    ae_buf_printf(to->out, "(none)");
  ae_buf_byte(to->out, '\n');
}

void ae__diff_text(ae_str before, ae_str after, const char *indent,
                   ae_buf *out) {
  writing to = {out, indent};
  ae__diff(before, after, write_one, &to);
}
