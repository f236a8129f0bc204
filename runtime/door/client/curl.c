#include "door/client/curl.h"

#include <dlfcn.h>

#define LIBRARY "libcurl.so.4"

ae__curl_library ae__curl;

static bool find(void *library) {
  bool all = true;
#define X(name)                                             \
  *(void **)&ae__curl.name = dlsym(library, "curl_" #name); \
  all = all && ae__curl.name;
  AE__CURL_FUNCTIONS(X)
#undef X
  return all;
}

ae_status ae__curl_load(ae_error *err) {
  static bool loaded;
  if (loaded) return AE_OK;
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return ae_error_set(err, AE_NOT_FOUND,
                        "talking to a node needs libcurl (Debian: apt-get "
                        "install libcurl4): %s",
                        dlerror());
  if (!find(library) || ae__curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return ae_error_set(err, AE_NOT_FOUND,
                        "%s is too old or broken; talking to a node needs "
                        "libcurl 7.85 or newer",
                        LIBRARY);
  loaded = true;
  return AE_OK;
}
