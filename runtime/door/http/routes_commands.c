#include "door/http/exchange.h"

const ae__route ae__routes_commands[] = {{0}};
