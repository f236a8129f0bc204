#include "door/http/exposition.h"

#include <math.h>

static void escape(ae_buf *out, ae_str text, bool quoted) {
  for (size_t i = 0; i < text.len; i++) {
    char c = text.ptr[i];
    if (c == '\n') {
      ae_buf_str(out, AE_STR("\\n"));
      continue;
    }
    if (c == '\\' || (quoted && c == '"')) ae_buf_byte(out, '\\');
    ae_buf_byte(out, (uint8_t)c);
  }
}

void ae__family(ae__exposition *e, const char *name, const char *type,
                const char *help) {
  e->family = name;
  ae_buf_printf(e->out, "# HELP %s ", name);
  escape(e->out, ae_str_of(help), false);
  ae_buf_printf(e->out, "\n# TYPE %s %s\n", name, type);
}

void ae__sample(ae__exposition *e, const char *suffix) {
  e->labels = 0;
  ae_buf_str(e->out, ae_str_of(e->family));
  ae_buf_str(e->out, ae_str_of(suffix));
}

void ae__label(ae__exposition *e, const char *name, ae_str value) {
  ae_buf_byte(e->out, e->labels++ ? ',' : '{');
  ae_buf_str(e->out, ae_str_of(name));
  ae_buf_str(e->out, AE_STR("=\""));
  escape(e->out, value, true);
  ae_buf_byte(e->out, '"');
}

static void before_value(ae__exposition *e) {
  if (e->labels) ae_buf_byte(e->out, '}');
  ae_buf_byte(e->out, ' ');
}

void ae__value(ae__exposition *e, uint64_t value) {
  before_value(e);
  ae_buf_printf(e->out, "%llu\n", (unsigned long long)value);
}

void ae__value_double(ae__exposition *e, double value) {
  before_value(e);
  if (isfinite(value))
    ae_buf_printf(e->out, "%.15g\n", value);
  else
    ae_buf_printf(e->out, "%s\n",
                  isnan(value) ? "NaN"
                  : value > 0  ? "+Inf"
                               : "-Inf");
}

void ae__value_ns(ae__exposition *e, uint64_t ns) {
  before_value(e);
  ae_buf_printf(e->out, "%llu.%09llu\n", (unsigned long long)(ns / 1000000000),
                (unsigned long long)(ns % 1000000000));
}
