/* Which app and which store a node serves, as two hashes: what it shows to
 * all, so that nobody takes the node of another app for this one's. */
#ifndef AE_DOOR_MARK_H
#define AE_DOOR_MARK_H

#include "node/config.h"

#define AE__MARK_HEADER "Aether-App"
#define AE__MARK_LEN 33 /* APP.STORE, 16 digits each */

void ae__mark(const ae_config *config, char out[AE__MARK_LEN + 1]);
/* The same app, or the same store. */
bool ae__mark_same(ae_str a, ae_str b);

#endif
