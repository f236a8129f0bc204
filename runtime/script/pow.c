/* Mathematics that is the same on every machine.
 *
 * The C library takes its functions by what the processor has (with fused
 * multiplication the last bit of sin, exp or pow is another one) and changes
 * them from version to version; the states of actors must be the same. So the
 * program brings musl's along, as built for its architecture without any such
 * choice (CMakeLists.txt takes them out of musl's libc.a), and LuaJIT, a shared
 * library, finds them in the program first.
 *
 * LuaJIT compiles `x ^ 2` to x * x and interprets it by pow, which may be off
 * by the last bit: a state would depend on how hot the code is. */
#include "script/state.h"

double ae__musl_pow(double x, double y);
double pow(double x, double y);

double pow(double x, double y) {
  return y == 2 ? x * x : ae__musl_pow(x, y);
}

double (*const ae__pow)(double x, double y) = pow;
