/* What nats.c alone does with JetStream: what the backend is held against. */
#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/bench.h"

enum { NAME_MAX_BYTES = 96, CATCH_UP_S = 10 };

typedef struct ae_bare_jetstream bare;
struct ae_bare_jetstream {
  ae_bare_jetstream_options ask;
  char *body;
  uint64_t random;
  natsConnection *nc;
  jsCtx *js;
  natsSubscription *consumer; /* ordered, beside the publisher */
  char stream[64];
  uint64_t *sequences; /* of each actor's last message */
  /* shared with nats.c's threads */
  pthread_mutex_t lock;
  pthread_cond_t free;
  uint32_t *idle; /* actors without a message in flight */
  uint32_t idle_count, in_flight;
  uint64_t *started; /* ns, of each actor's */
  uint64_t answered;
  uint64_t consumed;
  natsStatus failed;
};

static ae_status fail(const bare *b, natsStatus s, ae_error *err) {
  const char *text = nats_GetLastError(NULL);
  ae_error_set(err, AE_STORE_UNAVAILABLE, "%s with nats.c alone: %s%s%s",
               b->ask.url, natsStatus_GetText(s), text ? ": " : "",
               text ? text : "");
  ae_error_cstr(err, "cause", natsStatus_GetText(s));
  return AE_STORE_UNAVAILABLE;
}

static void on_consumed(natsConnection *nc, natsSubscription *sub, natsMsg *msg,
                        void *data) {
  (void)nc, (void)sub;
  bare *b = data;
  natsMsg_Destroy(msg);
  pthread_mutex_lock(&b->lock);
  b->consumed++;
  pthread_mutex_unlock(&b->lock);
}

/* nats.c 3.4 reads a subscription that is gone when a message comes for it in
 * that moment: it ends when it has all. */
static void catch_up(bare *b) {
  uint64_t until = ae_clock_mono() + (uint64_t)CATCH_UP_S * 1000000000;
  for (bool all = false; !all && ae_clock_mono() < until;) {
    nats_Sleep(1);
    pthread_mutex_lock(&b->lock);
    all = b->consumed >= b->answered;
    pthread_mutex_unlock(&b->lock);
  }
}

/* -- messages with both guards, as the backend sends them -- */

static natsStatus message(const bare *b, uint32_t actor, natsMsg **out,
                          jsPubOptions *options, char id[NAME_MAX_BYTES]) {
  char subject[NAME_MAX_BYTES];
  snprintf(subject, sizeof subject, "%s.a-%" PRIu32, b->stream, actor);
  snprintf(id, NAME_MAX_BYTES, "%.60s:%" PRIu64, subject, b->sequences[actor]);
  jsPubOptions_Init(options);
  options->MsgId = id;
  options->ExpectLastSubjectSeq = b->sequences[actor];
  options->ExpectNoMessage = b->sequences[actor] == 0;
  return natsMsg_Create(out, subject, NULL, b->body, (int)b->ask.bytes);
}

static uint32_t actor_of(const char *subject) {
  return (uint32_t)strtoul(strrchr(subject, '-') + 1, NULL, 10);
}

static void on_ack(jsCtx *js, natsMsg *msg, jsPubAck *ack, jsPubAckErr *error,
                   void *data) {
  (void)js;
  bare *b = data;
  uint32_t actor = actor_of(natsMsg_GetSubject(msg));
  uint64_t now = ae_clock_mono();
  pthread_mutex_lock(&b->lock);
  if (ack) {
    b->sequences[actor] = ack->Sequence;
    b->ask.each(b->ask.data, now - b->started[actor]);
    b->answered++;
  } else if (b->failed == NATS_OK) {
    b->failed = error ? error->Err : NATS_ERR;
  }
  b->idle[b->idle_count++] = actor;
  b->in_flight--;
  pthread_cond_signal(&b->free);
  pthread_mutex_unlock(&b->lock);
  natsMsg_Destroy(msg);
}

/* xorshift64 */
static uint64_t next_random(bare *b) {
  b->random ^= b->random << 13;
  b->random ^= b->random >> 7;
  return b->random ^= b->random << 17;
}

static natsStatus one_async(bare *b) {
  char id[NAME_MAX_BYTES];
  jsPubOptions options;
  natsMsg *msg = NULL;
  pthread_mutex_lock(&b->lock);
  while ((b->in_flight >= b->ask.in_flight || b->idle_count == 0) &&
         b->failed == NATS_OK)
    pthread_cond_wait(&b->free, &b->lock);
  natsStatus s = b->failed;
  uint32_t at =
      (uint32_t)(next_random(b) % (b->idle_count ? b->idle_count : 1));
  uint32_t actor = b->idle[at];
  b->idle[at] = b->idle[--b->idle_count];
  b->in_flight++;
  b->started[actor] = ae_clock_mono();
  pthread_mutex_unlock(&b->lock);
  if (s == NATS_OK) s = message(b, actor, &msg, &options, id);
  if (s == NATS_OK) s = js_PublishMsgAsync(b->js, &msg, &options);
  natsMsg_Destroy(msg);
  return s;
}

static natsStatus one_sync(bare *b) {
  char id[NAME_MAX_BYTES];
  jsPubOptions options;
  jsPubAck *ack = NULL;
  natsMsg *msg = NULL;
  uint32_t actor = (uint32_t)(next_random(b) % b->ask.actors);
  uint64_t from = ae_clock_mono();
  natsStatus s = message(b, actor, &msg, &options, id);
  if (s == NATS_OK) s = js_PublishMsg(&ack, b->js, msg, &options, NULL);
  if (s == NATS_OK) {
    b->sequences[actor] = ack->Sequence;
    b->ask.each(b->ask.data, ae_clock_mono() - from);
    b->answered++;
  }
  jsPubAck_Destroy(ack);
  natsMsg_Destroy(msg);
  return s;
}

/* -- the stream -- */

static natsStatus set_up(bare *b) {
  jsOptions options;
  jsStreamConfig config;
  char subjects[80];
  const char *list[] = {subjects};
  jsSubOptions ordered;
  snprintf(b->stream, sizeof b->stream, "aether_bare_%" PRIx64,
           ae_clock_mono());
  snprintf(subjects, sizeof subjects, "%s.>", b->stream);
  natsStatus s = natsConnection_ConnectTo(&b->nc, b->ask.url);
  if (s == NATS_OK) s = jsOptions_Init(&options);
  options.PublishAsync.AckHandler = on_ack;
  options.PublishAsync.AckHandlerClosure = b;
  if (s == NATS_OK) s = natsConnection_JetStream(&b->js, b->nc, &options);
  if (s == NATS_OK) s = jsStreamConfig_Init(&config);
  config.Name = b->stream;
  config.Subjects = list;
  config.SubjectsLen = 1;
  config.Storage = js_FileStorage;
  config.Replicas = b->ask.replicas;
  config.Duplicates = INT64_C(20000000000);
  if (s == NATS_OK) s = js_AddStream(NULL, b->js, &config, NULL, NULL);
  if (s == NATS_OK) s = jsSubOptions_Init(&ordered);
  ordered.Ordered = true;
  if (s == NATS_OK)
    s = js_Subscribe(&b->consumer, b->js, subjects, on_consumed, b, NULL,
                     &ordered, NULL);
  if (s == NATS_OK) s = natsSubscription_SetPendingLimits(b->consumer, -1, -1);
  return s;
}

void ae_bare_jetstream_close(bare *b) {
  if (!b) return;
  if (b->consumer && b->failed == NATS_OK) catch_up(b);
  natsSubscription_Destroy(b->consumer);
  if (b->js) js_DeleteStream(b->js, b->stream, NULL, NULL);
  jsCtx_Destroy(b->js);
  natsConnection_Destroy(b->nc);
  pthread_mutex_destroy(&b->lock);
  pthread_cond_destroy(&b->free);
  ae_free(b->sequences);
  ae_free(b->idle);
  ae_free(b->started);
  ae_free(b->body);
  ae_free(b);
}

ae_status ae_bare_jetstream_open(const ae_bare_jetstream_options *options,
                                 bare **out, ae_error *err) {
  bare *b = ae_zalloc(sizeof *b);
  b->ask = *options;
  b->random = UINT64_C(0x9e3779b97f4a7c15);
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->free, NULL);
  b->body = ae_zalloc(options->bytes + 1);
  b->sequences = ae_zalloc(options->actors * sizeof *b->sequences);
  b->started = ae_zalloc(options->actors * sizeof *b->started);
  b->idle = ae_zalloc(options->actors * sizeof *b->idle);
  while (b->idle_count < options->actors) {
    b->idle[b->idle_count] = b->idle_count;
    b->idle_count++;
  }
  natsStatus s = set_up(b);
  *out = s == NATS_OK ? b : NULL;
  if (s == NATS_OK) return AE_OK;
  ae_status status = fail(b, s, err);
  ae_bare_jetstream_close(b);
  return status;
}

ae_status ae_bare_jetstream_run(bare *b, double seconds, uint64_t *operations,
                                ae_error *err) {
  uint64_t before = b->answered;
  uint64_t until = ae_clock_mono() + (uint64_t)(seconds * 1e9);
  natsStatus s = NATS_OK;
  bool stopped = false;
  while (s == NATS_OK && !stopped && ae_clock_mono() < until) {
    s = b->ask.in_flight > 1 ? one_async(b) : one_sync(b);
    stopped = b->ask.stopped();
  }
  if (b->ask.in_flight > 1) {
    natsStatus done = js_PublishAsyncComplete(b->js, NULL);
    if (s == NATS_OK) s = done;
  }
  pthread_mutex_lock(&b->lock);
  *operations += b->answered - before;
  if (s != NATS_OK) b->failed = s;
  pthread_mutex_unlock(&b->lock);
  if (s != NATS_OK) return fail(b, s, err);
  return stopped ? ae_error_set(err, AE_CANCELED, "interrupted") : AE_OK;
}

/* -- one ordered consumer over all there is -- */

typedef struct counting {
  pthread_mutex_t lock;
  pthread_cond_t done;
  uint64_t got, wanted;
} counting;

static void on_counted(natsConnection *nc, natsSubscription *sub, natsMsg *msg,
                       void *data) {
  (void)nc, (void)sub;
  counting *c = data;
  natsMsg_Destroy(msg);
  pthread_mutex_lock(&c->lock);
  if (++c->got == c->wanted) pthread_cond_signal(&c->done);
  pthread_mutex_unlock(&c->lock);
}

ae_status ae_store_bare_consume(const char *url, const char *subjects,
                                uint64_t wanted, double *seconds,
                                ae_error *err) {
  bare b = {.ask = {.url = url}};
  counting c = {.wanted = wanted};
  jsSubOptions ordered;
  pthread_mutex_init(&c.lock, NULL);
  pthread_cond_init(&c.done, NULL);
  uint64_t from = ae_clock_mono();
  natsStatus s = natsConnection_ConnectTo(&b.nc, url);
  if (s == NATS_OK) s = natsConnection_JetStream(&b.js, b.nc, NULL);
  if (s == NATS_OK) s = jsSubOptions_Init(&ordered);
  ordered.Ordered = true;
  if (s == NATS_OK)
    s = js_Subscribe(&b.consumer, b.js, subjects, on_counted, &c, NULL,
                     &ordered, NULL);
  if (s == NATS_OK) s = natsSubscription_SetPendingLimits(b.consumer, -1, -1);
  pthread_mutex_lock(&c.lock);
  while (s == NATS_OK && c.got < c.wanted) {
    struct timespec late;
    clock_gettime(CLOCK_REALTIME, &late);
    late.tv_sec += 60;
    if (pthread_cond_timedwait(&c.done, &c.lock, &late) != 0) s = NATS_TIMEOUT;
  }
  pthread_mutex_unlock(&c.lock);
  *seconds = (double)(ae_clock_mono() - from) / 1e9;
  ae_status status = s == NATS_OK ? AE_OK : fail(&b, s, err);
  natsSubscription_Destroy(b.consumer);
  jsCtx_Destroy(b.js);
  natsConnection_Destroy(b.nc);
  pthread_mutex_destroy(&c.lock);
  pthread_cond_destroy(&c.done);
  return status;
}
