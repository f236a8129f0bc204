/* `aether config`. */
#include "base/json.h"
#include "base/pack.h"
#include "door/subcommand.h"
#include "door/terminal.h"

static const char *source_word(ae_setting_source source) {
  static const char *const words[] = {"default", "file", "variable", "flag"};
  return words[source];
}

static void print_json(const ae_config *config) {
  ae_buf packed = {0}, text = {0};
  ae_pack_map(&packed, 3);
  ae_pack_cstr(&packed, "app");
  ae_pack_text(&packed, ae_str_of(config->app));
  ae_pack_cstr(&packed, "file");
  if (config->file)
    ae_pack_text(&packed, ae_str_of(config->file));
  else
    ae_pack_nil(&packed);
  ae_pack_cstr(&packed, "settings");
  ae_pack_map(&packed, (uint32_t)config->setting_count);
  for (size_t i = 0; i < config->setting_count; i++) {
    const ae_setting *setting = &config->settings[i];
    ae_pack_cstr(&packed, setting->key);
    ae_pack_map(&packed, 3);
    ae_pack_cstr(&packed, "value");
    ae_buf_str(&packed, ae_buf_view(&setting->value));
    ae_pack_cstr(&packed, "source");
    ae_pack_cstr(&packed, source_word(setting->source));
    ae_pack_cstr(&packed, "from");
    ae_pack_cstr(&packed, setting->where);
  }
  ae_json_write(ae_buf_view(&packed), &text);
  printf("%s\n", ae_buf_cstr(&text));
  ae_buf_clear(&packed);
  ae_buf_clear(&text);
}

static void print_text(const ae_config *config) {
  const char *dim = ae__color(stdout, AE__DIM);
  const char *plain = ae__color(stdout, AE__PLAIN);
  int width = 0;
  for (size_t i = 0; i < config->setting_count; i++) {
    int len = (int)strlen(config->settings[i].key);
    if (len > width) width = len;
  }
  for (size_t i = 0; i < config->setting_count; i++) {
    const ae_setting *setting = &config->settings[i];
    ae_unpack cursor = ae_unpack_of(ae_buf_view(&setting->value));
    ae_buf text = {0};
    ae_str words;
    if (ae_unpack_nil(&cursor))
      ae_buf_printf(&text, "(not set)");
    else if (ae_unpack_str(&cursor, &words))
      ae_buf_str(&text, words);
    else
      ae_json_write(ae_buf_view(&setting->value), &text);
    printf("%-*s = %s  %s(%s)%s\n", width, setting->key, ae_buf_cstr(&text),
           dim, setting->where, plain);
    ae_buf_clear(&text);
  }
}

static void say_stray(void *data, const char *name, const char *nearest) {
  (void)data;
  ae__say("%s in the environment is no setting%s%s%s", name,
          nearest[0] ? "; did you mean " : "", nearest, nearest[0] ? "?" : "");
}

int ae__config_run(const ae__args *args) {
  ae_config config;
  ae_error err = {0};
  int exit = 0;
  if (ae__args_config(args, &config, &err) != AE_OK)
    exit = ae__complain(args, &err);
  else if (ae__args_json(args))
    print_json(&config);
  else
    print_text(&config);
  if (exit == 0) ae_config_strays(say_stray, NULL);
  ae_config_clear(&config);
  return exit;
}
