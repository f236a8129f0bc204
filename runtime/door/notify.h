/* Tells the service manager how the process is: systemd's sd_notify(3), where
 * it was started by one (NOTIFY_SOCKET), else nothing.
 *
 * The protocol is one datagram of lines to a socket that the environment
 * names, kept stable by systemd's interface promise; its manual gives it in
 * full so that programs need not load libsystemd, and all that hangs on that,
 * for these lines. */
#ifndef AE_DOOR_NOTIFY_H
#define AE_DOOR_NOTIFY_H

#include <sys/un.h>
#include <uv.h>

#include "base/status.h"

typedef struct ae__notify {
  int fd; /* -1: nobody to tell */
  struct sockaddr_un to;
  socklen_t to_len;
  uint64_t ping_ms; /* between watchdog pings; 0: not asked for */
  uv_timer_t timer; /* pings, from the loop: when that stands still, none */
  bool failed;      /* and that was said */
} ae__notify;

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of
 * the environment. What makes no sense in them is logged, and nobody is told.
 * The timer does not keep the loop running. */
void ae__notify_open(ae__notify *notify, uv_loop_t *loop);
/* Ready, with a line for `systemctl status`; pings begin. */
void ae__notify_ready(ae__notify *notify, const char *status);
void ae__notify_stopping(ae__notify *notify, const char *status);
/* The struct must live until the loop has closed its handles. */
void ae__notify_close(ae__notify *notify);

#endif
