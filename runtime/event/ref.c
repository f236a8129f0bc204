#include "event/ref.h"

#include "namespace/name.h"

ae_status ae_ref_parse(ae_str text, ae_ref *out, ae_error *err) {
  const char *end = text.ptr + text.len;
  const char *first = text.len ? memchr(text.ptr, '/', text.len) : NULL;
  const char *second =
      first ? memchr(first + 1, '/', (size_t)(end - first - 1)) : NULL;
  if (!second) {
    ae_error_set(err, AE_INVALID_NAME, "%s", "");
    ae_error_quote(err, text);
    ae_error_add(err, " is no actor: write NAMESPACE/TYPE/ID");
    return AE_INVALID_NAME;
  }
  ae_ref ref = {
      .ns = {text.ptr, (size_t)(first - text.ptr)},
      .type = {first + 1, (size_t)(second - first - 1)},
      .id = {second + 1, (size_t)(end - second - 1)},
  };
  ae_status status = ae_namespace_check(ref.ns, err);
  if (!status) status = ae_type_check(ref.type, err);
  if (!status) status = ae_id_check(ref.id, err);
  if (!status) *out = ref;
  return status;
}

void ae_ref_format(const ae_ref *ref, ae_buf *out) {
  ae_buf_reserve(out, ref->ns.len + ref->type.len + ref->id.len + 2);
  ae_buf_str(out, ref->ns);
  ae_buf_byte(out, '/');
  ae_buf_str(out, ref->type);
  ae_buf_byte(out, '/');
  ae_buf_str(out, ref->id);
}

bool ae_ref_eq(const ae_ref *a, const ae_ref *b) {
  return ae_str_eq(a->id, b->id) && ae_str_eq(a->type, b->type) &&
         ae_str_eq(a->ns, b->ns);
}
