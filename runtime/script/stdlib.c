#include "script/stdlib.h"

const ae_embedded *ae__stdlib_find(ae_str name) {
  for (const ae_embedded *at = ae__embedded; at->name; at++) {
    if (ae_str_eq(ae_str_of(at->name), name)) return at;
  }
  return NULL;
}
