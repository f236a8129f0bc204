#include "door/cli.h"

int main(int argc, char **argv) {
  return ae_cli_main(argc, argv);
}
