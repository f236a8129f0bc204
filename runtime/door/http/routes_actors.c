#include "door/http/exchange.h"

const ae__route ae__routes_actors[] = {{0}};
