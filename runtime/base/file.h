/* Names and folders of files that must outlive a power cut. */
#ifndef AE_BASE_FILE_H
#define AE_BASE_FILE_H

#include <stdbool.h>

/* The folder that holds `path`, with its slash; "./" for a bare name. The
 * caller's. */
char *ae_file_folder(const char *path);
/* `path` and `suffix` behind it. The caller's. */
char *ae_file_beside(const char *path, const char *suffix);
/* 0, or an errno: what was made, renamed or removed in the folder of `path` is
 * on the disk. A file system that cannot do that is taken at its word. */
int ae_file_sync_folder(const char *path);
/* Both name one file that is there. */
bool ae_file_same(const char *a, const char *b);

#endif
