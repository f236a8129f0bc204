/* The one comparison of versions: the append makes it against what is stored,
 * the command path before `decide` against the version decided on. */
#include "store/concurrency/expected.h"

bool ae_expected_holds(uint64_t expected, uint64_t current) {
  return expected == current;
}
