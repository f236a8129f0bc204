/* Mistakes found while loading: each is told once, with its line. */
#include "base/mem.h"
#include "script/load.h"

void ae__report(ae_script *script, ae_error *found) {
  for (size_t i = 0; i < script->nmistakes; i++) {
    if (ae_str_eq(ae_buf_view(&script->mistakes[i]->message),
                  ae_buf_view(&found->message))) {
      ae_error_clear(found);
      return;
    }
  }
  ae_error *kept = ae_zalloc(sizeof *kept);
  ae_error_move(kept, found);
  script->mistakes = ae_realloc(
      script->mistakes, (script->nmistakes + 1) * sizeof *script->mistakes);
  script->mistakes[script->nmistakes++] = kept;
  if (script->mistake) script->mistake(script->data, kept);
}

int ae__line_of(const ae_module *module, ae_str key) {
  while (key.len && memchr(key.ptr, '.', key.len)) {
    const char *dot = memchr(key.ptr, '.', key.len);
    key.len -= (size_t)(dot + 1 - key.ptr);
    key.ptr = dot + 1;
  }
  int line = 1;
  const char *at = module->source.ptr, *end = at + module->source.len;
  for (const char *start = at; key.len && at + key.len < end; at++) {
    if (*at == '\n') line++;
    if (memcmp(at, key.ptr, key.len)) continue;
    char before = at > start ? at[-1] : ' ';
    const char *rest = at + key.len;
    while (rest < end && *rest == ' ') rest++;
    if (rest < end && (*rest == '=' || *rest == '(') &&
        strchr(" \t\n.,{[\"'", before)) {
      return line;
    }
  }
  return 0;
}

void ae__mistake(const ae_script *script, const ae_module *module, int line,
                 ae_str text, ae_error *out) {
  ae_buf place = {0};
  ae__place(script, module, &place);
  if (line > 0) ae_buf_printf(&place, ":%d", line);
  ae_error_set(out, AE_CONTRACT_ERROR, "%.*s: %.*s", (int)place.len, place.ptr,
               AE_FMT(text));
  ae_error_cstr(out, "module", module->name);
  if (line > 0) ae_error_int(out, "line", line);
  ae_buf_clear(&place);
}
