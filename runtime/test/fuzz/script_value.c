/* Bytes into Lua and out again: refused with a reason, or the same for good
 * from the first time they are written. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/pack.h"
#include "script/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ae_module *open_module(void) {
  char folder[] = "/tmp/aether-fuzz-XXXXXX", file[64];
  AE_ASSERT(mkdtemp(folder));
  snprintf(file, sizeof file, "%s/m.lua", folder);
  FILE *out = fopen(file, "wb");
  AE_ASSERT(out);
  fputs("return { decide = {}, evolve = {} }\n", out);
  fclose(out);
  ae_script_options options = {.ns = AE_STR("fuzz"), .folder = folder};
  ae_script *script;
  AE_ASSERT_CMP(ae_script_open(&options, &script, NULL), ==, AE_OK);
  unlink(file);
  rmdir(folder);
  return ae_script_module_at(script, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static ae_module *module; /* also keeps the script from being a leak */
  if (!module) module = open_module();
  ae_buf once = {0}, twice = {0}, canonical = {0};
  ae_error err = {0};
  ae_state state;
  ae_status status =
      ae_script_load(module, (ae_str){(const char *)data, size}, &state, &err);
  if (status != AE_OK) {
    AE_ASSERT(err.message.len > 0);
  } else if (ae_script_dump(module, state, &once, &err) == AE_OK) {
    AE_ASSERT(ae_pack_valid(ae_buf_view(&once)));
    AE_ASSERT(ae_pack_canonical(ae_buf_view(&once), &canonical));
    AE_ASSERT(ae_str_eq(ae_buf_view(&once), ae_buf_view(&canonical)));
    ae_script_drop(module, state);
    AE_ASSERT_CMP(ae_script_load(module, ae_buf_view(&once), &state, &err), ==,
                  AE_OK);
    AE_ASSERT_CMP(ae_script_dump(module, state, &twice, &err), ==, AE_OK);
    AE_ASSERT(ae_str_eq(ae_buf_view(&once), ae_buf_view(&twice)));
  }
  if (status == AE_OK) ae_script_drop(module, state);
  ae_error_clear(&err);
  ae_buf_clear(&once);
  ae_buf_clear(&twice);
  ae_buf_clear(&canonical);
  return 0;
}
