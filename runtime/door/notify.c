#include "door/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

static void complain(ae__notify *notify, const char *cause) {
  if (!notify->failed)
    ae_log(AE_LOG_WARN, "the service manager cannot be told how the node is",
           "cause", cause, NULL);
  notify->failed = true;
}

static void tell(ae__notify *notify, ae_str lines) {
  if (notify->fd < 0) return;
  ssize_t sent;
  do {
    sent = sendto(notify->fd, lines.ptr, lines.len, MSG_NOSIGNAL,
                  (const struct sockaddr *)&notify->to, notify->to_len);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) complain(notify, strerror(errno));
}

/* A path, or a name of Linux's own behind an @. */
static bool address(ae__notify *notify, const char *name) {
  size_t len = strlen(name), most = sizeof notify->to.sun_path;
  if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= most)
    return false;
  notify->to.sun_family = AF_UNIX;
  memcpy(notify->to.sun_path, name, len);
  if (name[0] == '@') notify->to.sun_path[0] = 0;
  notify->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
  return true;
}

/* Half the time in which one is due. */
static uint64_t ping_ms(void) {
  const char *text = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
  uint64_t us, pid;
  if (!text || !ae_str_uint(ae_str_of(text), &us) || us == 0) return 0;
  if (whose &&
      (!ae_str_uint(ae_str_of(whose), &pid) || pid != (uint64_t)getpid()))
    return 0;
  return us / 2000 > 0 ? us / 2000 : 1;
}

void ae__notify_open(ae__notify *notify, uv_loop_t *loop) {
  *notify = (ae__notify){.fd = -1};
  AE_ASSERT_CMP(uv_timer_init(loop, &notify->timer), ==, 0);
  uv_unref((uv_handle_t *)&notify->timer);
  notify->timer.data = notify;
  const char *name = getenv("NOTIFY_SOCKET");
  if (name && name[0]) {
    notify->ping_ms = ping_ms();
    if (!address(notify, name))
      complain(notify, "NOTIFY_SOCKET is no path and no @name");
    else if ((notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
      complain(notify, strerror(errno));
  }
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  unsetenv("WATCHDOG_PID");
}

static void on_ping(uv_timer_t *timer) {
  tell(timer->data, AE_STR("WATCHDOG=1\n"));
}

static void tell_state(ae__notify *notify, const char *state,
                       const char *status) {
  ae_buf lines = {0};
  ae_buf_printf(&lines, "%s=1\nSTATUS=%s\n", state, status);
  tell(notify, ae_buf_view(&lines));
  ae_buf_clear(&lines);
}

void ae__notify_ready(ae__notify *notify, const char *status) {
  tell_state(notify, "READY", status);
  if (notify->fd >= 0 && notify->ping_ms > 0)
    uv_timer_start(&notify->timer, on_ping, 0, notify->ping_ms);
}

void ae__notify_stopping(ae__notify *notify, const char *status) {
  tell_state(notify, "STOPPING", status);
}

void ae__notify_close(ae__notify *notify) {
  if (notify->fd >= 0) close(notify->fd);
  notify->fd = -1;
  uv_close((uv_handle_t *)&notify->timer, NULL);
}
