#include "door/client/show.h"

#include "base/json.h"
#include "door/terminal.h"

static bool text_at(ae_str packed, const char *key, ae_str *out) {
  ae_str value;
  if (!ae_unpack_field(packed, key, &value)) return false;
  ae_unpack cursor = ae_unpack_of(value);
  return ae_unpack_str(&cursor, out);
}

static bool uint_at(ae_str packed, const char *key, uint64_t *out) {
  ae_str value;
  if (!ae_unpack_field(packed, key, &value)) return false;
  ae_unpack cursor = ae_unpack_of(value);
  return ae_unpack_uint(&cursor, out);
}

bool ae__show_read(ae_str packed, ae_event *event) {
  uint64_t index;
  ae_str time;
  *event = (ae_event){0};
  if (!text_at(packed, "type", &event->type) ||
      !text_at(packed, "namespace", &event->ref.ns) ||
      !text_at(packed, "actor_type", &event->ref.type) ||
      !text_at(packed, "actor_id", &event->ref.id) ||
      !uint_at(packed, "version", &event->version) ||
      !uint_at(packed, "position", &event->position) ||
      !uint_at(packed, "index", &index) ||
      !ae_unpack_field(packed, "timestamp", &time) ||
      !ae_unpack_field(packed, "data", &event->data))
    return false;
  ae_unpack cursor = ae_unpack_of(time);
  event->index = (uint32_t)index;
  return ae_unpack_int(&cursor, &event->time);
}

bool ae__show_read_line(ae_str line, ae_buf *packed, ae_event *event) {
  ae_buf_reset(packed);
  return ae_json_read(line, packed, NULL) == AE_OK &&
         ae__show_read(ae_buf_view(packed), event);
}

void ae__show_event(ae_buf *out, const ae_event *event, bool actor) {
  ae__answer_event_text(out, event, actor, ae__color(stdout, AE__BOLD),
                        ae__color(stdout, AE__DIM),
                        ae__color(stdout, AE__PLAIN));
}
