/* What the parts of `aether doctor` share. */
#ifndef AE_DOOR_DOCTOR_H
#define AE_DOOR_DOCTOR_H

#include "door/subcommand.h"

typedef enum ae__finding { AE__GOOD, AE__NOTE, AE__WRONG } ae__finding;

typedef struct ae__doctor {
  const ae__args *args;
  bool json;
  bool wrong; /* something was */
  ae_config config;
} ae__doctor;

/* `mend` NULL: nothing to do. */
void ae__doctor_say(ae__doctor *d, ae__finding state, const char *about,
                    const char *text, const char *mend);
void ae__doctor_sayf(ae__doctor *d, ae__finding state, const char *about,
                     const char *mend, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* What `aether run` needs: that as many files may be open as it takes; and,
 * where the settings can be read, its address, tokens and TLS. */
void ae__doctor_files(ae__doctor *d);
void ae__doctor_http(ae__doctor *d);

#endif
