/* Time. Algorithms take their time from here only where no caller gives it. */
#ifndef AE_BASE_CLOCK_H
#define AE_BASE_CLOCK_H

#include <stdint.h>

int64_t ae_clock_now(void);   /* µs since 1970, UTC */
uint64_t ae_clock_mono(void); /* ns, monotonic (CLOCK_MONOTONIC) */

#endif
