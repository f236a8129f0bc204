/* The store in SQLite, against the conformance suite. */
#include "store/conformance.h"
#include "store/sqlite_support.h"

int main(void) {
  return conformance_run(&sqlite_fixture) ? 1 : 0;
}
