/* What people see: messages, colour, progress. Colour and progress only on a
 * terminal, and never with --json. */
#ifndef AE_DOOR_TERMINAL_H
#define AE_DOOR_TERMINAL_H

#include <stdio.h>

#include "door/subcommand.h"

typedef enum ae__ink {
  AE__PLAIN,
  AE__BOLD,
  AE__DIM,
  AE__RED,
  AE__GREEN,
  AE__YELLOW,
} ae__ink;

bool ae__terminal(FILE *stream);
/* The escape sequence, or "" where the stream is no terminal that takes it. */
const char *ae__color(FILE *stream, ae__ink ink);

/* A line on stderr, begun with "aether: ". Clears a progress line first. */
void ae__say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints the error on stderr (as JSON with --json) and returns the exit
 * status. Clears `err`. */
int ae__complain(const ae__args *args, ae_error *err);
/* The same for an error of someone else's, which may be NULL. */
int ae__complain_of(const ae__args *args, ae_status status,
                    const ae_error *err);
int ae__unknown_subcommand(const char *name, const char *nearest);
/* Writes all of it to stdout past stdio. False: nobody reads it any more (or
 * the disk is full), and that has been said. */
bool ae__write_out(const char *bytes, size_t len);
/* Flushes stdio's stdout; the exit status: 3 where that failed, else `exit`. */
int ae__finish_out(int exit);

/* One line on stderr that is written over; at most ten times a second. */
typedef struct ae__progress {
  bool on;
  uint64_t last; /* ns, monotonic */
} ae__progress;
void ae__progress_start(ae__progress *progress, const ae__args *args);
/* Whether it is time to show again. */
bool ae__progress_due(ae__progress *progress);
void ae__progress_show(ae__progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void ae__progress_end(ae__progress *progress);
/* A bar of 20 places and the percentage: "[####................]  20%". Valid
 * until the next. */
const char *ae__bar(uint64_t done, uint64_t total);
/* 1234567 as "1,234,567". Four buffers in turn. */
const char *ae__count(uint64_t number);
/* Bytes as "817 bytes", "12.3 MB". Four buffers in turn. */
const char *ae__size(uint64_t bytes);

#endif
