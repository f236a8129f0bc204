/* A SQLite file in a folder of its own, for the tests of that backend. */
#ifndef AE_TEST_STORE_SQLITE_SUPPORT_H
#define AE_TEST_STORE_SQLITE_SUPPORT_H

#include "store/support.h"

extern const struct fixture sqlite_fixture;

/* The file behind a fixture's URL. */
const char *sqlite_path(const struct world *world);
/* Removes a folder with all in it. */
void folder_drop(const char *path);

#endif
