#include "door/subcommand.h"

static const ae__flag help_flag = {"help", 'h', NULL, "show this"};

static const ae__flag *flag_of(const ae__subcommand *of, ae_str name) {
  for (const ae__flag *flag = of->flags; flag->name; flag++)
    if (flag->letter != 'C' && ae_str_eq(name, ae_str_of(flag->name)))
      return flag;
  return ae_str_eq(name, ae_str_of(help_flag.name)) ? &help_flag : NULL;
}

static const ae__flag *letter_of(const ae__subcommand *of, char letter) {
  for (const ae__flag *flag = of->flags; flag->name; flag++)
    if (flag->letter == letter) return flag;
  return letter == help_flag.letter ? &help_flag : NULL;
}

static ae_status unknown_flag(const ae__subcommand *of, ae_str name,
                              ae_error *err) {
  ae_nearest near;
  ae_nearest_init(&near, name);
  ae_nearest_offer(&near, ae_str_of(help_flag.name));
  for (const ae__flag *flag = of->flags; flag->name; flag++)
    if (flag->letter != 'C') ae_nearest_offer(&near, ae_str_of(flag->name));
  ae_str best = ae_nearest_best(&near);
  ae_error_set(err, AE_USAGE, "`aether %s` has no --%.*s", of->name,
               AE_FMT(name));
  if (best.len > 0)
    ae_error_add(err, "; did you mean --%.*s?", AE_FMT(best));
  else
    ae_error_add(err, "; see `aether help %s`", of->name);
  return AE_USAGE;
}

static void keep(ae__args *args, const ae__flag *flag, const char *value) {
  if (flag->letter == 'C') args->app = value;
  args->values[flag - args->of->flags] = value;
}

/* One argument that begins with a dash; *at is its place in argv, and moves
 * when it takes the one behind it. */
static ae_status take_flag(ae__args *args, int argc, char **argv, int *at,
                           bool *help, ae_error *err) {
  const char *text = argv[*at];
  const ae__flag *flag;
  const char *value = NULL;
  if (text[1] == '-') {
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : strlen(text);
    ae_str name = {text + 2, len - 2};
    flag = flag_of(args->of, name);
    if (!flag) return unknown_flag(args->of, name, err);
    value = equals ? equals + 1 : NULL;
  } else {
    flag = letter_of(args->of, text[1]);
    if (!flag)
      return ae_error_set(err, AE_USAGE,
                          "`aether %s` has no -%c; see `aether help %s`",
                          args->of->name, text[1], args->of->name);
    if (text[2] && !flag->arg)
      return ae_error_set(err, AE_USAGE, "%s: -%c takes nothing behind it",
                          text, text[1]);
    value = text[2] ? text + 2 : NULL;
  }
  if (flag == &help_flag) {
    *help = true;
    return AE_OK;
  }
  if (!flag->arg && value)
    return ae_error_set(err, AE_USAGE, "--%s takes nothing behind it",
                        flag->name);
  if (flag->arg && !value) {
    if (*at + 1 >= argc)
      return ae_error_set(err, AE_USAGE, "%s needs %s behind it", text,
                          flag->arg);
    value = argv[++*at];
  }
  if (flag->arg && !*value)
    return ae_error_set(err, AE_USAGE, "%s needs %s, and got nothing", text,
                        flag->arg);
  keep(args, flag, value ? value : "");
  return AE_OK;
}

static bool understood(const ae__args *args, const char *text) {
  if (text[0] != '-' || !text[1]) return false;
  if (text[1] != '-') return letter_of(args->of, text[1]) != NULL;
  const char *equals = strchr(text, '=');
  size_t len = equals ? (size_t)(equals - text) : strlen(text);
  return flag_of(args->of, (ae_str){text + 2, len - 2}) != NULL;
}

ae_status ae__args_parse(ae__args *args, int argc, char **argv, bool *help,
                         ae_error *err) {
  bool ended = false;
  *help = false;
  for (int i = 0; i < argc; i++) {
    if (args->of->passes_on && !understood(args, argv[i])) {
      while (i < argc) args->rest[args->count++] = argv[i++];
      return AE_OK;
    }
    if (ended || argv[i][0] != '-' || !argv[i][1]) {
      args->rest[args->count++] = argv[i];
    } else if (strcmp(argv[i], "--") == 0) {
      ended = true;
    } else {
      ae_status status = take_flag(args, argc, argv, &i, help, err);
      if (status != AE_OK) return status;
    }
  }
  if (*help) return AE_OK;
  if (args->count < args->of->least)
    return ae_error_set(err, AE_USAGE, "usage: aether %s %s", args->of->name,
                        args->of->usage);
  if (args->of->most >= 0 && args->count > args->of->most)
    return ae_error_set(err, AE_USAGE,
                        "\"%s\" is one argument too many; usage: aether %s%s%s",
                        args->rest[args->of->most], args->of->name,
                        args->of->usage[0] ? " " : "", args->of->usage);
  return AE_OK;
}

const char *ae__args_get(const ae__args *args, const char *name) {
  const ae__flag *flag = flag_of(args->of, ae_str_of(name));
  return flag ? args->values[flag - args->of->flags] : NULL;
}

bool ae__args_json(const ae__args *args) {
  return args->of && ae__args_get(args, "json") != NULL;
}

ae_status ae__args_uint(const ae__args *args, const char *name, uint64_t least,
                        uint64_t most, uint64_t fallback, uint64_t *out,
                        ae_error *err) {
  const char *text = ae__args_get(args, name);
  *out = fallback;
  if (!text) return AE_OK;
  if (ae_str_uint(ae_str_of(text), out) && *out >= least && *out <= most)
    return AE_OK;
  if (most == UINT64_MAX)
    return ae_error_set(err, AE_USAGE,
                        "--%s must be a whole number from %llu, not \"%s\"",
                        name, (unsigned long long)least, text);
  return ae_error_set(
      err, AE_USAGE,
      "--%s must be a whole number from %llu to %llu, not \"%s\"", name,
      (unsigned long long)least, (unsigned long long)most, text);
}

ae_status ae__args_config(const ae__args *args, ae_config *out, ae_error *err) {
  const ae_config_flag flags[] = {{"store", ae__args_get(args, "store")},
                                  {"listen", ae__args_get(args, "listen")},
                                  {"node", ae__args_get(args, "node")},
                                  {0}};
  ae_status status = ae_config_load(args->app, flags, out, err);
  if (status == AE_OK) ae_log_setup(out->log, AE_LOG_AUTO);
  return status;
}
