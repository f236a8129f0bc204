#define _GNU_SOURCE /* pthread_setname_np */
#include "node/pulse.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define EVERY_MS 1000u
#define SILENCE_MS 5000u
#define MS 1000000u /* ns */

/* The timer, its counts and `due` are the loop thread's; `beat` is all that
 * both touch, besides the end. */
struct ae_pulse {
  uv_timer_t timer;
  uint64_t every, silence; /* ns */
  void (*on_beat)(void *data);
  void *data;
  ae_pulse_counts counts;
  uint64_t due;          /* ns, monotonic: the next beat */
  _Atomic uint64_t beat; /* the last one */
  pthread_t thread;
  pthread_mutex_t lock; /* guards `stopping` */
  pthread_cond_t waked;
  bool stopping;
  void (*stopped)(void *data);
  void *stopped_data;
};

/* -- the loop thread -- */

static void on_timer(uv_timer_t *timer) {
  ae_pulse *pulse = timer->data;
  ae_pulse_counts *counts = &pulse->counts;
  uint64_t now = ae_clock_mono();
  uint64_t late = now > pulse->due ? now - pulse->due : 0;
  counts->beats++;
  counts->late_ms = (double)late / MS;
  if (counts->late_ms > counts->longest_ms)
    counts->longest_ms = counts->late_ms;
  if (now - atomic_load(&pulse->beat) > pulse->silence) counts->standstills++;
  pulse->due = now + pulse->every;
  atomic_store(&pulse->beat, now);
  uv_timer_start(timer, on_timer, pulse->every / MS, 0);
  if (pulse->on_beat) pulse->on_beat(pulse->data);
}

void ae_pulse_count(const ae_pulse *pulse, ae_pulse_counts *out) {
  *out = pulse->counts;
}

/* -- the thread beside it -- */

/* False: it is to end. */
static bool rest(ae_pulse *pulse, uint64_t ns) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  uint64_t nanos = (uint64_t)until.tv_nsec + ns;
  until.tv_sec += (time_t)(nanos / 1000000000u);
  until.tv_nsec = (long)(nanos % 1000000000u);
  pthread_mutex_lock(&pulse->lock);
  int result = 0;
  while (!pulse->stopping && result == 0)
    result = pthread_cond_timedwait(&pulse->waked, &pulse->lock, &until);
  bool go_on = !pulse->stopping;
  pthread_mutex_unlock(&pulse->lock);
  return go_on;
}

static void say(ae_log_level level, const char *what, uint64_t ns) {
  char seconds[32];
  snprintf(seconds, sizeof seconds, "%.1f", (double)ns / 1e9);
  ae_log(level, what, "seconds", seconds, NULL);
}

static void *watch(void *data) {
  ae_pulse *pulse = data;
  uint64_t step = pulse->silence / 4;
  uint64_t before = ae_clock_mono(), still = 0;
  while (rest(pulse, step)) {
    uint64_t now = ae_clock_mono(), beat = atomic_load(&pulse->beat);
    /* This thread was held up itself: the whole process was stopped. */
    bool stopped = now - before > pulse->silence;
    before = now;
    if (still && beat > still) {
      say(AE_LOG_WARN, "the loop runs again after a standstill", beat - still);
      still = 0;
    } else if (!still && !stopped && now > beat &&
               now - beat > pulse->silence) {
      still = beat;
      say(AE_LOG_ERROR,
          "the loop stands still: something that it called does not return, "
          "and nothing is answered",
          now - beat);
    }
  }
  return NULL;
}

static ae_status thread_start(ae_pulse *pulse, ae_error *err) {
  sigset_t all, before;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&pulse->waked, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&pulse->lock, NULL);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&pulse->thread, NULL, watch, pulse);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error) {
    pthread_cond_destroy(&pulse->waked);
    pthread_mutex_destroy(&pulse->lock);
    ae_error_set(err, AE_STORE_UNAVAILABLE, "no thread for 'aether-pulse': %s",
                 strerror(error));
    ae_error_cstr(err, "cause", strerror(error));
    return AE_STORE_UNAVAILABLE;
  }
  pthread_setname_np(pulse->thread, "aether-pulse");
  return AE_OK;
}

/* -- start and stop -- */

ae_status ae_pulse_start(ae_loop *loop, const ae_pulse_options *options,
                         ae_pulse **out, ae_error *err) {
  ae_pulse *pulse = ae_zalloc(sizeof *pulse);
  unsigned every = options->every_ms ? options->every_ms : EVERY_MS;
  unsigned silence = options->silence_ms ? options->silence_ms : SILENCE_MS;
  uint64_t now = ae_clock_mono();
  pulse->every = (uint64_t)every * MS;
  pulse->silence = (uint64_t)silence * MS;
  pulse->on_beat = options->beat;
  pulse->data = options->data;
  pulse->due = now + pulse->every;
  atomic_init(&pulse->beat, now);
  *out = NULL;
  ae_status status = thread_start(pulse, err);
  if (status != AE_OK) {
    ae_free(pulse);
    return status;
  }
  AE_ASSERT_CMP(uv_timer_init(&loop->uv, &pulse->timer), ==, 0);
  pulse->timer.data = pulse;
  uv_timer_start(&pulse->timer, on_timer, every, 0);
  uv_unref((uv_handle_t *)&pulse->timer);
  *out = pulse;
  return AE_OK;
}

static void on_closed(uv_handle_t *timer) {
  ae_pulse *pulse = timer->data;
  void (*cb)(void *) = pulse->stopped;
  void *data = pulse->stopped_data;
  ae_free(pulse);
  cb(data);
}

void ae_pulse_stop(ae_pulse *pulse, void (*cb)(void *data), void *data) {
  pthread_mutex_lock(&pulse->lock);
  pulse->stopping = true;
  pthread_cond_signal(&pulse->waked);
  pthread_mutex_unlock(&pulse->lock);
  pthread_join(pulse->thread, NULL);
  pthread_cond_destroy(&pulse->waked);
  pthread_mutex_destroy(&pulse->lock);
  pulse->stopped = cb;
  pulse->stopped_data = data;
  uv_close((uv_handle_t *)&pulse->timer, on_closed);
}
