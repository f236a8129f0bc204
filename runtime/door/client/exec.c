/* Commands through a node: the input goes as it stands to POST /v1/commands,
 * while the outcomes come back in the order of its lines. */
#define _GNU_SOURCE /* memmem */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "door/answer.h"
#include "door/client/door.h"
#include "door/terminal.h"

#define OUT_SLICE (64u << 10)
#define SILENT_NS UINT64_C(5000000000)

typedef struct running {
  ae__session *session;
  int fd;
  int error;     /* errno of the read that failed */
  uint64_t last; /* ns, monotonic: something was sent */
  bool between;  /* no line is begun and not ended */
  ae_buf out;
  uint64_t outcomes;
  uint64_t by[4]; /* by ae__verdict */
  uint64_t events;
  bool broken; /* stdout takes nothing any more */
  ae__progress progress;
  uint64_t started; /* ns, monotonic */
} running;

/* A node cuts who is silent in the midst of a request. A blank before a line
 * says nothing, and that somebody is there. */
static ssize_t keep_alive(running *r, char *to) {
  if (!r->between || ae_clock_mono() - r->last < SILENT_NS)
    return AE__PULL_WAIT;
  r->last = ae_clock_mono();
  *to = ' ';
  return 1;
}

static ssize_t pull(void *data, char *to, size_t room) {
  running *r = data;
  struct pollfd one = {.fd = r->fd, .events = POLLIN};
  if (poll(&one, 1, 0) == 0) return keep_alive(r, to);
  ssize_t got;
  do got = read(r->fd, to, room);
  while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
    return AE__PULL_WAIT;
  if (got < 0) r->error = errno;
  r->last = ae_clock_mono();
  r->between = got > 0 && to[got - 1] == '\n';
  return got < 0 ? 0 : got;
}

static bool flush(void *data) {
  running *r = data;
  r->broken = r->broken || !ae__write_out(r->out.ptr, r->out.len);
  ae_buf_reset(&r->out);
  if (!r->broken && ae__progress_due(&r->progress))
    ae__progress_show(
        &r->progress, "%s commands: %s accepted, %s rejected, %s failed",
        ae__count(r->outcomes), ae__count(r->by[AE__ACCEPTED]),
        ae__count(r->by[AE__REJECTED]), ae__count(r->by[AE__FAILED]));
  return !r->broken;
}

/* An outcome's own status: before it stand strings only, in which every quote
 * is escaped. */
static ae__verdict verdict_of(ae_str line, const char **behind) {
  static const char key[] = "\"status\":\"";
  const char *at = memmem(line.ptr, line.len, key, sizeof key - 1);
  *behind = line.ptr + line.len;
  if (!at) return AE__FAILED;
  at += sizeof key - 1;
  for (int i = AE__ACCEPTED; i < AE__FAILED; i++) {
    const char *word = ae__verdict_word((ae__verdict)i);
    size_t len = strlen(word);
    if ((size_t)(*behind - at) <= len || memcmp(at, word, len) != 0) continue;
    *behind = at + len + 1; /* its quote too */
    return (ae__verdict)i;
  }
  return AE__FAILED;
}

/* Of an accepted outcome, from behind its status: the objects in the one list
 * that it has; none where it says at its end that it is a repetition. */
static uint64_t count_events(const char *at, const char *end) {
  static const char repeated[] = "],\"repeated\":true}";
  uint64_t count = 0;
  int depth = 0;
  size_t tail = sizeof repeated - 1;
  if ((size_t)(end - at) >= tail && memcmp(end - tail, repeated, tail) == 0)
    return 0;
  for (bool text = false; at < end; at++) {
    if (text && *at == '\\') {
      at++;
    } else if (*at == '"') {
      text = !text;
    } else if (!text && (*at == '[' || *at == '{')) {
      count += depth++ == 1;
    } else if (!text && (*at == ']' || *at == '}')) {
      depth--;
    }
  }
  return count;
}

static bool on_line(void *data, ae_str line) {
  running *r = data;
  const char *behind;
  if (line.len == 0) return true;
  ae__verdict verdict = verdict_of(line, &behind);
  r->outcomes++;
  r->by[verdict]++;
  if (verdict == AE__ACCEPTED)
    r->events += count_events(behind, line.ptr + line.len);
  ae_buf_str(&r->out, line);
  ae_buf_byte(&r->out, '\n');
  return r->out.len < OUT_SLICE || flush(r);
}

static void summarize(const running *r, bool interrupted) {
  double seconds = (double)(ae_clock_mono() - r->started) / 1e9;
  double rate = seconds > 0 ? (double)r->outcomes / seconds : 0;
  const char *json =
      "{\"commands\":%llu,\"accepted\":%llu,\"rejected\":%llu,"
      "\"conflicts\":%llu,\"failed\":%llu,\"events\":%llu,"
      "\"seconds\":%.3f,\"rate\":%.0f,\"interrupted\":%s}\n";
  if (ae__args_json(r->session->args))
    fprintf(stderr, json, (unsigned long long)r->outcomes,
            (unsigned long long)r->by[AE__ACCEPTED],
            (unsigned long long)r->by[AE__REJECTED],
            (unsigned long long)r->by[AE__CONFLICT],
            (unsigned long long)r->by[AE__FAILED],
            (unsigned long long)r->events, seconds, rate,
            interrupted ? "true" : "false");
  else
    ae__say(
        "%s%llu commands: %llu accepted, %llu rejected, %llu conflicts, "
        "%llu failed; %llu events; %.3f seconds, %.0f commands/s",
        interrupted ? "interrupted after " : "",
        (unsigned long long)r->outcomes,
        (unsigned long long)r->by[AE__ACCEPTED],
        (unsigned long long)r->by[AE__REJECTED],
        (unsigned long long)r->by[AE__CONFLICT],
        (unsigned long long)r->by[AE__FAILED], (unsigned long long)r->events,
        seconds, rate);
}

static int status_of(const running *r) {
  if (r->by[AE__FAILED] > 0 || r->broken || r->error)
    return ae_status_exit(AE_UNREACHABLE);
  bool refused = r->by[AE__REJECTED] > 0 || r->by[AE__CONFLICT] > 0;
  return refused ? ae_status_exit(AE_REJECTED) : 0;
}

int ae__client_exec(ae__session *session, int fd) {
  running r = {.session = session,
               .fd = fd,
               .started = ae_clock_mono(),
               .last = ae_clock_mono(),
               .between = true};
  const char *from = session->args->rest[0];
  ae__call call = {.post = true,
                   .path = "/v1/commands",
                   .type = "application/x-ndjson",
                   .endless = true,
                   .pull = pull,
                   .pull_fd = fd,
                   .line = on_line,
                   .flush = flush,
                   .data = &r};
  if (!ae__args_json(session->args))
    ae__say("running on the node at %s", ae__client_url(session->client));
  ae__progress_start(&r.progress, session->args);
  ae_status status = ae__client_call(session->client, &call, &session->err);
  flush(&r);
  ae__progress_end(&r.progress);
  ae_buf_clear(&r.out);
  bool interrupted = status == AE_CANCELED;
  int exit = 0;
  if (r.error)
    ae__say("%s cannot be read further: %s",
            strcmp(from, "-") == 0 ? "stdin" : from, strerror(r.error));
  if (status != AE_OK && !interrupted)
    exit = ae__complain(session->args, &session->err);
  if (status != AE_OK && call.sent)
    ae__say(
        "what became of the commands behind the last outcome is not known; "
        "those with an `id` can be sent again, and take effect once");
  if (exit == 0 || r.outcomes > 0) summarize(&r, interrupted);
  int worst = status_of(&r);
  return exit > worst ? exit : worst;
}
