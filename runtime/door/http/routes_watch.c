#include "door/http/exchange.h"

const ae__route ae__routes_watch[] = {{0}};
