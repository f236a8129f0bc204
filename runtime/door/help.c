#include "door/subcommand.h"
#include "door/terminal.h"

void ae__help_all(FILE *out) {
  const char *bold = ae__color(out, AE__BOLD),
             *plain = ae__color(out, AE__PLAIN);
  fprintf(out,
          "Aether: events from Lua aggregates, stored for good.\n\n"
          "usage: aether [-C DIR] SUBCOMMAND …\n");
  const char *group = "";
  for (const ae__subcommand *one = ae__subcommands; one->name; one++) {
    if (strcmp(group, one->group) != 0)
      fprintf(out, "\n%s%s%s\n", bold, one->group, plain);
    group = one->group;
    fprintf(out, "  %-9s %s\n", one->name, one->summary);
  }
  fprintf(out,
          "\n`aether help SUBCOMMAND` says more, with an example. "
          "To begin: aether new myapp\n");
}

static void flag_line(FILE *out, const ae__flag *flag) {
  char shown[48];
  bool letter_only = flag->letter == 'C';
  if (letter_only)
    snprintf(shown, sizeof shown, "-%c %s", flag->letter, flag->arg);
  else if (flag->letter)
    snprintf(shown, sizeof shown, "-%c, --%s", flag->letter, flag->name);
  else
    snprintf(shown, sizeof shown, "--%s%s%s", flag->name, flag->arg ? " " : "",
             flag->arg ? flag->arg : "");
  fprintf(out, "  %-16s %s\n", shown, flag->text);
}

void ae__help_one(FILE *out, const ae__subcommand *one) {
  fprintf(out, "aether %s: %s\n\nusage: aether %s%s%s%s\n", one->name,
          one->summary, one->name, one->flags[0].name ? " [options]" : "",
          one->usage[0] ? " " : "", one->usage);
  if (one->details) fprintf(out, "\n%s\n", one->details);
  fprintf(out, "\noptions:\n");
  for (const ae__flag *flag = one->flags; flag->name; flag++)
    flag_line(out, flag);
  flag_line(out, &(ae__flag){"help", 'h', NULL, "show this"});
  fprintf(out, "\nexample:\n  %s\n", one->example);
}

int ae__help_run(const ae__args *args) {
  if (args->count == 0) {
    ae__help_all(stdout);
    return 0;
  }
  const char *nearest;
  const ae__subcommand *one = ae__subcommand_find(args->rest[0], &nearest);
  if (one) {
    ae__help_one(stdout, one);
    return 0;
  }
  return ae__unknown_subcommand(args->rest[0], nearest);
}
