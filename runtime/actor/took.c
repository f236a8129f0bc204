/* How long commands take, counted by upper bounds. */
#include "actor/internal.h"

#define US UINT64_C(1000)
#define MS (1000 * US)

const uint64_t ae_took_bounds[AE_TOOK] = {
    25 * US,   50 * US,  100 * US,  250 * US,  500 * US,  1 * MS,
    2500 * US, 5 * MS,   10 * MS,   25 * MS,   50 * MS,   100 * MS,
    250 * MS,  500 * MS, 1000 * MS, 2500 * MS, 5000 * MS, 10000 * MS};

/* By how many bits a number of 1024 ns has, the first bound that can hold it:
 * at most two comparisons are left. */
static const uint8_t first[] = {0, 0, 0, 0,  0,  0,  1,  2,  3,  4,  5,  6, 6,
                                7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 16, 17};

unsigned ae__took(uint64_t ns) {
  uint64_t coarse = ns >> 10;
  unsigned bits = coarse ? 64 - (unsigned)__builtin_clzll(coarse) : 0;
  if (bits >= sizeof first) return AE_TOOK;
  unsigned at = first[bits];
  while (at < AE_TOOK && ns > ae_took_bounds[at]) at++;
  return at;
}
