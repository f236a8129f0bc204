/* Named injection points. Faults are ordinary: a test arms one, the code meets
 * it. `AETHER_FAULT=name:N[:ERRNO][,…]` in the environment arms it from
 * outside: the N-th passage fails, 0 is every one. Costs one load of a global
 * when nothing is armed. */
#ifndef AE_BASE_FAULT_H
#define AE_BASE_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>

extern _Atomic bool ae_fault_armed;
/* 0: go on. Else the errno to fail with (EIO where none was given). */
#define AE_FAULT(name)                                         \
  (atomic_load_explicit(&ae_fault_armed, memory_order_relaxed) \
       ? ae_fault_hit(name)                                    \
       : 0)
int ae_fault_hit(const char *name);
void ae_fault_arm(const char *name, unsigned nth, int error);
void ae_fault_reset(void);
/* From AETHER_FAULT; false (with a line on stderr) when it is not understood */
bool ae_fault_from_env(void);

#endif
