#include "node/shape.h"

#include <stdio.h>

#include "base/json.h"
#include "base/pack.h"
#include "namespace/grant.h"
#include "namespace/name.h"
#include "namespace/pattern.h"
#include "node/tokens.h"

static ae_status check_store(ae_str text, ae_error *err) {
  bool sqlite = text.len > 7 && memcmp(text.ptr, "sqlite:", 7) == 0;
  bool nats = text.len > 7 && memcmp(text.ptr, "nats://", 7) == 0;
  if (sqlite || nats || ae_str_eq(text, AE_STR("memory"))) return AE_OK;
  return ae_error_set(err, AE_MALFORMED,
                      "must be memory, sqlite:FILE or nats://HOST:PORT, not "
                      "\"%.*s\"",
                      AE_FMT(text));
}

static ae_status check_listen(ae_str text, ae_error *err) {
  size_t colon = text.len;
  while (colon > 0 && text.ptr[colon - 1] != ':') colon--;
  uint64_t port = 0;
  ae_str digits = {text.ptr + colon, text.len - colon};
  if (colon > 1 && ae_str_uint(digits, &port) && port <= 65535) return AE_OK;
  return ae_error_set(err, AE_MALFORMED,
                      "must be HOST:PORT, for example 127.0.0.1:7070, not "
                      "\"%.*s\"",
                      AE_FMT(text));
}

static ae_status check_log(ae_str text, ae_error *err) {
  static const char *const words[] = {"debug", "info", "warn", "error"};
  for (size_t i = 0; i < 4; i++)
    if (ae_str_eq(text, ae_str_of(words[i]))) return AE_OK;
  return ae_error_set(err, AE_MALFORMED,
                      "must be debug, info, warn or error, not \"%.*s\"",
                      AE_FMT(text));
}

ae_status ae_token_name_check(ae_str text, ae_error *err) {
  bool right = text.len > 0 && text.len <= 64;
  for (size_t i = 0; i < text.len && right; i++) {
    char c = text.ptr[i];
    right = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  }
  if (right) return AE_OK;
  ae_error_set(err, AE_MALFORMED,
               "a token's name is 1 to 64 of letters, "
               "digits, '.', '_' and '-', not ");
  ae_error_quote(err, text);
  return AE_MALFORMED;
}

ae_status ae_right_check(ae_str text, ae_error *err) {
  if (ae_right_of(text) != 0) return AE_OK;
  ae_nearest near;
  ae_nearest_init(&near, text);
  ae_error_set(err, AE_MALFORMED, "there is no right ");
  ae_error_quote(err, text);
  for (unsigned right = 1; right <= AE_RIGHTS_ALL; right <<= 1)
    ae_nearest_offer(&near, ae_str_of(ae_right_word((ae_right)right)));
  ae_str best = ae_nearest_best(&near);
  if (best.len > 0)
    ae_error_add(err, "; did you mean %.*s?", AE_FMT(best));
  else
    ae_error_add(err, "; there are command, read, listen and admin");
  return AE_MALFORMED;
}

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool ae__token_hash(ae_str text, uint8_t out[AE_TOKEN_HASH]) {
  static const size_t head = sizeof AE_TOKEN_HASHED - 1;
  if (text.len != head + 2 * AE_TOKEN_HASH ||
      memcmp(text.ptr, AE_TOKEN_HASHED, head) != 0)
    return false;
  for (size_t i = 0; i < AE_TOKEN_HASH; i++) {
    int high = hex(text.ptr[head + 2 * i]);
    int low = hex(text.ptr[head + 2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = (uint8_t)(high << 4 | low);
  }
  return true;
}

/* Does not show it: it may be the token itself, put in the wrong place. */
static ae_status check_hash(ae_str text, ae_error *err) {
  uint8_t hash[AE_TOKEN_HASH];
  if (ae__token_hash(text, hash)) return AE_OK;
  return ae_error_set(err, AE_MALFORMED,
                      "must be " AE_TOKEN_HASHED
                      "HEX with 64 digits, as "
                      "`aether token NAME` prints it");
}

static const ae__shape limits[] = {
    {.key = "handler_ms", .kind = AE__NUMBER, .max = 3600000},
    {.key = "quarantine_after", .kind = AE__INTEGER, .min = 1, .max = 1e6},
    {.key = "memory_mb", .kind = AE__INTEGER, .min = 1, .max = 65536},
    {.key = "commands_per_s", .kind = AE__NUMBER, .max = 1e9},
    {.key = "events_per_s", .kind = AE__NUMBER, .max = 1e9},
    {.key = "bytes", .kind = AE__INTEGER, .min = 1, .max = 9007199254740992.0},
    {.key = "live_actors", .kind = AE__INTEGER, .min = 1, .max = 1e9},
    {0}};

static const ae__shape retention[] = {
    {.key = "days", .kind = AE__INTEGER, .min = 1, .max = 36500},
    {.key = "bytes", .kind = AE__INTEGER, .min = 1, .max = 9007199254740992.0},
    {0}};

const ae__shape ae__namespace_fields[] = {
    {.key = "modules", .kind = AE__STRING, .path = true},
    {.key = "limits", .kind = AE__RECORD, .fields = limits},
    {.key = "retry", .kind = AE__STRING, .check = ae_module_check},
    {.key = "retention", .kind = AE__RECORD, .fields = retention},
    {0}};

static const ae__shape one_namespace[] = {
    {.key = "", .kind = AE__RECORD, .fields = ae__namespace_fields}};
static const ae__shape one_pattern[] = {
    {.key = "", .kind = AE__STRING, .check = ae_pattern_check}};
static const ae__shape one_right[] = {
    {.key = "", .kind = AE__STRING, .check = ae_right_check}};
static const ae__shape token[] = {
    {.key = "name", .kind = AE__STRING, .check = ae_token_name_check},
    {.key = "hash", .kind = AE__STRING, .check = check_hash, .secret = true},
    {.key = "namespaces", .kind = AE__LIST, .fields = one_pattern},
    {.key = "rights", .kind = AE__LIST, .fields = one_right},
    {0}};
static const ae__shape one_token[] = {
    {.key = "", .kind = AE__RECORD, .fields = token}};
static const ae__shape one_grant[] = {
    {.key = "", .kind = AE__LIST, .fields = one_pattern}};

static const ae__shape tls[] = {
    {.key = "certificate", .kind = AE__STRING, .path = true},
    {.key = "key", .kind = AE__STRING, .path = true},
    {.key = "ca", .kind = AE__STRING, .path = true},
    {0}};
static const ae__shape nats[] = {
    {.key = "credentials", .kind = AE__STRING, .path = true},
    {.key = "nkey", .kind = AE__STRING, .path = true},
    {.key = "user", .kind = AE__STRING},
    {.key = "password", .kind = AE__STRING, .secret = true},
    {.key = "token", .kind = AE__STRING, .secret = true},
    {.key = "tls", .kind = AE__RECORD, .fields = tls},
    {0}};
/* Of connections to the HTTP door. */
static const ae__shape http[] = {
    {.key = "connections", .kind = AE__INTEGER, .min = 1, .max = 1000000},
    {.key = "header_kb", .kind = AE__INTEGER, .min = 1, .max = 1024},
    {.key = "body_mb", .kind = AE__INTEGER, .min = 1, .max = 1024},
    {.key = "line_mb", .kind = AE__INTEGER, .min = 1, .max = 1024},
    {.key = "header_s", .kind = AE__INTEGER, .min = 1, .max = 86400},
    {.key = "body_s", .kind = AE__INTEGER, .min = 1, .max = 86400},
    {.key = "idle_s", .kind = AE__INTEGER, .min = 1, .max = 86400},
    {.key = "send_s", .kind = AE__INTEGER, .min = 1, .max = 86400},
    {0}};
static const ae__shape judge[] = {
    {.key = "actors", .kind = AE__INTEGER, .min = 0, .max = 1e9}, {0}};

const ae__shape ae__settings[] = {
    {.key = "store", .kind = AE__STRING, .check = check_store},
    {.key = "data", .kind = AE__STRING, .path = true},
    {.key = "replicas", .kind = AE__INTEGER, .min = 1, .max = 5},
    {.key = "listen", .kind = AE__STRING, .check = check_listen},
    {.key = "node", .kind = AE__STRING, .check = ae_namespace_check},
    {.key = "shards", .kind = AE__INTEGER, .min = 1, .max = 65536},
    {.key = "log", .kind = AE__STRING, .check = check_log},
    {.key = "http", .kind = AE__RECORD, .fields = http},
    {.key = "judge", .kind = AE__RECORD, .fields = judge},
    {.key = "tokens", .kind = AE__LIST, .fields = one_token},
    {.key = "grants",
     .kind = AE__MAP,
     .fields = one_grant,
     .check = ae_token_name_check},
    {.key = "tls", .kind = AE__RECORD, .fields = tls},
    {.key = "nats", .kind = AE__RECORD, .fields = nats},
    {.key = "namespaces",
     .kind = AE__MAP,
     .fields = one_namespace,
     .check = ae_namespace_check},
    {0}};

const ae__shape *ae__shape_field(const ae__shape *fields, ae_str key,
                                 ae_str *nearest) {
  ae_nearest near;
  ae_nearest_init(&near, key);
  for (const ae__shape *field = fields; field->key; field++) {
    if (ae_str_eq(key, ae_str_of(field->key))) return field;
    ae_nearest_offer(&near, ae_str_of(field->key));
  }
  *nearest = ae_nearest_best(&near);
  return NULL;
}

/* The value as JSON, cut short, for a message. */
static ae_status wrong(ae_error *err, const char *path, const char *must,
                       ae_str value) {
  ae_buf shown = {0};
  ae_json_write(value, &shown);
  size_t len = shown.len > 60 ? 60 : shown.len;
  ae_error_set(err, AE_MALFORMED, "%s must be %s, not %.*s%s", path, must,
               (int)len, shown.ptr, shown.len > 60 ? "…" : "");
  ae_buf_clear(&shown);
  return AE_MALFORMED;
}

static ae_status check_string(const ae__shape *shape, const char *path,
                              ae_str value, ae_error *err) {
  ae_unpack cursor = ae_unpack_of(value);
  ae_str text;
  if (!ae_unpack_str(&cursor, &text)) return wrong(err, path, "a text", value);
  if (text.len == 0 || memchr(text.ptr, 0, text.len))
    return wrong(err, path, "a text that is not empty", value);
  if (!shape->check) return AE_OK;
  ae_error why = {0};
  if (shape->check(text, &why) != AE_OK)
    ae_error_set(err, AE_MALFORMED, "%s: %s", path, ae_error_text(&why));
  ae_status status = why.status == AE_OK ? AE_OK : AE_MALFORMED;
  ae_error_clear(&why);
  return status;
}

static ae_status check_number(const ae__shape *shape, const char *path,
                              ae_str value, ae_error *err) {
  ae_unpack cursor = ae_unpack_of(value);
  ae_pack_item item = {0};
  ae_unpack_next(&cursor, &item);
  bool whole = item.type == AE_PACK_UINT || item.type == AE_PACK_INT;
  double number = item.type == AE_PACK_UINT     ? (double)item.u
                  : item.type == AE_PACK_INT    ? (double)item.i
                  : item.type == AE_PACK_DOUBLE ? item.d
                                                : 0;
  char must[96];
  if (shape->kind == AE__INTEGER) {
    snprintf(must, sizeof must, "a whole number from %.0f to %.0f", shape->min,
             shape->max);
    if (!whole || number < shape->min || number > shape->max)
      return wrong(err, path, must, value);
    return AE_OK;
  }
  snprintf(must, sizeof must, "a number above %.0f, up to %.0f", shape->min,
           shape->max);
  if ((!whole && item.type != AE_PACK_DOUBLE) || !(number > shape->min) ||
      number > shape->max)
    return wrong(err, path, must, value);
  return AE_OK;
}

/* An empty Lua table is an array or a map, as the reader likes. */
static bool is_table(ae_str value, bool map, uint32_t *count) {
  ae_unpack cursor = ae_unpack_of(value);
  if (map ? ae_unpack_map(&cursor, count) : ae_unpack_array(&cursor, count))
    return true;
  bool other =
      map ? ae_unpack_array(&cursor, count) : ae_unpack_map(&cursor, count);
  return other && *count == 0;
}

static ae_status check_map(const ae__shape *shape, const char *path,
                           ae_str value, ae_error *err) {
  uint32_t count = 0;
  if (!is_table(value, true, &count))
    return wrong(err, path, "a table with names", value);
  ae_unpack cursor = ae_unpack_of(value);
  if (count > 0) ae_unpack_map(&cursor, &count);
  ae_status status = AE_OK;
  for (uint32_t i = 0; i < count && status == AE_OK; i++) {
    ae_str key, field_value, nearest;
    if (!ae_unpack_str(&cursor, &key))
      return ae_error_set(err, AE_MALFORMED,
                          "%s must have names as keys, not numbers", path);
    ae_unpack_skip(&cursor, &field_value);
    const ae__shape *field = shape->fields;
    const char *dot = path[0] ? "." : "";
    if (shape->kind == AE__RECORD) {
      field = ae__shape_field(shape->fields, key, &nearest);
      if (!field && nearest.len > 0)
        return ae_error_set(err, AE_MALFORMED,
                            "%s%s%.*s is no setting; did you mean %.*s?", path,
                            dot, AE_FMT(key), AE_FMT(nearest));
      if (!field) {
        ae_error_set(err, AE_MALFORMED, "%s%s%.*s is no setting; known are",
                     path, dot, AE_FMT(key));
        for (field = shape->fields; field->key; field++)
          ae_error_add(err, "%s %s", field == shape->fields ? "" : ",",
                       field->key);
        return AE_MALFORMED;
      }
    } else if (shape->check) {
      ae_error why = {0};
      status = shape->check(key, &why);
      if (status != AE_OK)
        status = ae_error_set(err, AE_MALFORMED, "%s: %s", path,
                              ae_error_text(&why));
      ae_error_clear(&why);
      if (status != AE_OK) return status;
    }
    ae_buf below = {0};
    ae_buf_printf(&below, "%s%s%.*s", path, dot, AE_FMT(key));
    status = ae__shape_check(field, ae_buf_cstr(&below), field_value, err);
    ae_buf_clear(&below);
  }
  return status;
}

static ae_status check_list(const ae__shape *shape, const char *path,
                            ae_str value, ae_error *err) {
  uint32_t count = 0;
  if (!is_table(value, false, &count)) return wrong(err, path, "a list", value);
  ae_unpack cursor = ae_unpack_of(value);
  if (count > 0) ae_unpack_array(&cursor, &count);
  ae_status status = AE_OK;
  for (uint32_t i = 0; i < count && status == AE_OK; i++) {
    ae_str element;
    ae_unpack_skip(&cursor, &element);
    ae_buf below = {0};
    ae_buf_printf(&below, "%s[%u]", path, i + 1);
    status = ae__shape_check(shape->fields, ae_buf_cstr(&below), element, err);
    ae_buf_clear(&below);
  }
  return status;
}

ae_status ae__shape_check(const ae__shape *shape, const char *path,
                          ae_str value, ae_error *err) {
  switch (shape->kind) {
    case AE__STRING:
      return check_string(shape, path, value, err);
    case AE__INTEGER:
    case AE__NUMBER:
      return check_number(shape, path, value, err);
    case AE__LIST:
      return check_list(shape, path, value, err);
    case AE__RECORD:
    case AE__MAP:
      break;
  }
  return check_map(shape, path, value, err);
}

ae_status ae__shape_parse(const ae__shape *shape, const char *path,
                          const char *text, ae_buf *out, ae_error *err) {
  if (shape->kind == AE__STRING) {
    ae_pack_text(out, ae_str_of(text));
    return AE_OK;
  }
  ae_error why = {0};
  ae_status status = ae_json_read(ae_str_of(text), out, &why);
  if (status != AE_OK)
    ae_error_set(err, AE_MALFORMED, "%s must be %s in JSON: %s", path,
                 shape->kind == AE__LIST     ? "a list"
                 : shape->kind == AE__MAP    ? "a table"
                 : shape->kind == AE__RECORD ? "a table"
                                             : "a number",
                 ae_error_text(&why));
  ae_error_clear(&why);
  return status == AE_OK ? AE_OK : AE_MALFORMED;
}
