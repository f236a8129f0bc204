#include "door/http/exchange.h"

const ae__route ae__routes_events[] = {{0}};
