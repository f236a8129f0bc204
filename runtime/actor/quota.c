/* What a namespace may take: commands and events a second, and the bytes of its
 * stored records. Live actors are limited where they are made, table.c. */
#include "actor/internal.h"
#include "base/clock.h"

#define LIVE_DEFAULT 100000

/* Bytes over their limit are asked for again after so long, in ns, and so many
 * times of what the store took for the last answer: it counts snapshots. */
#define AGAIN UINT64_C(1000000000)
#define AGAIN_TIMES 20

static uint64_t now_of(const ae_realm *realm) {
  return ae_loop_time(realm->actors->loop);
}

void ae__quota_init(ae_realm *realm, const ae_limits *limits) {
  if (limits) realm->limits = *limits;
  limits = &realm->limits;
  if (!limits->live_actors) realm->limits.live_actors = LIVE_DEFAULT;
  realm->limited = limits->commands_per_s > 0 || limits->events_per_s > 0 ||
                   limits->bytes > 0;
  realm->measured = limits->bytes == 0;
  uint64_t now = now_of(realm);
  if (limits->commands_per_s > 0)
    ae_bucket_init(&realm->commands, limits->commands_per_s, now);
  if (limits->events_per_s > 0)
    ae_bucket_init(&realm->events, limits->events_per_s, now);
  ae_list_init(&realm->parked);
}

static ae_status refuse(ae_realm *realm, ae_limit limit, uint64_t wait_ms,
                        ae_error *err) {
  realm->refused[limit]++;
  return ae_limit_refuse(err, limit, realm->name, &realm->limits, wait_ms);
}

/* -- bytes -- */

static void unpark(ae_realm *realm, ae_status status, const ae_error *err) {
  ae_actors *actors = realm->actors;
  ae_list parked;
  ae_list_init(&parked);
  ae_list *link;
  while ((link = ae_list_shift(&realm->parked))) ae_list_push(&parked, link);
  while ((link = ae_list_shift(&parked))) {
    ae_command *command = ae__command_of(link);
    command->marks &= (uint8_t)~AE__WAITING;
    realm->waiting--;
    if (realm->measured)
      ae__command_take(actors, command);
    else
      ae__answer_error(actors, NULL, command, status, 0, err);
  }
}

static void on_stats(ae_stats_read *read, ae_status status,
                     const ae_error *err) {
  ae_realm *realm = read->data;
  ae_actors *actors = realm->actors;
  uint64_t now = ae_clock_mono();
  uint64_t took = (now - realm->asked) * AGAIN_TIMES;
  realm->measuring = false;
  realm->due = now + (took > AGAIN ? took : AGAIN);
  if (status == AE_OK) {
    realm->bytes = read->stats.bytes + realm->stored;
    realm->measured = true;
  }
  unpark(realm, status, err);
  ae__release(actors);
}

static void measure(ae_realm *realm) {
  if (realm->measuring || realm->actors->closing) return;
  realm->measuring = true;
  realm->stored = 0;
  realm->asked = ae_clock_mono();
  realm->stats =
      (ae_stats_read){.ns = realm->name, .cb = on_stats, .data = realm};
  ae__hold(realm->actors);
  ae_error err = {0};
  ae_status status = ae_store_stats(realm->actors->store, &realm->stats, &err);
  if (status != AE_OK) on_stats(&realm->stats, status, &err);
  ae_error_clear(&err);
}

bool ae__quota_park(ae_realm *realm, ae_command *command) {
  if (realm->measured) return false;
  ae_list_push(&realm->parked, &command->link);
  measure(realm);
  return true;
}

void ae__quota_store(ae_realm *realm, size_t bytes) {
  if (realm->limits.bytes == 0) return;
  realm->bytes += bytes;
  realm->stored += bytes;
}

/* -- each command -- */

ae_status ae__quota_admit(ae_realm *realm, ae_command *command, ae_error *err) {
  const ae_limits *limits = &realm->limits;
  uint64_t now = now_of(realm);
  if (limits->bytes > 0 && realm->bytes >= limits->bytes) {
    if (now >= realm->due) measure(realm);
    return refuse(realm, AE_LIMIT_BYTES, 0, err);
  }
  if (limits->commands_per_s > 0 && !ae_bucket_take(&realm->commands, now))
    return refuse(realm, AE_LIMIT_COMMANDS,
                  ae_bucket_wait_ms(&realm->commands, now), err);
  if (limits->events_per_s == 0) return AE_OK;
  if (!ae_bucket_take(&realm->events, now)) {
    if (limits->commands_per_s > 0) ae_bucket_spend(&realm->commands, -1);
    return refuse(realm, AE_LIMIT_EVENTS,
                  ae_bucket_wait_ms(&realm->events, now), err);
  }
  command->marks |= AE__RESERVED;
  return AE_OK;
}

ae_status ae__quota_full(ae_realm *realm, ae_error *err) {
  return refuse(realm, AE_LIMIT_ACTORS, 0, err);
}

void ae__quota_settle(ae_realm *realm, uint32_t events) {
  ae_bucket_spend(&realm->events, (double)events - 1);
}

void ae_realm_count(const ae_realm *realm, ae_realm_counts *out) {
  *out = (ae_realm_counts){
      .limits = realm->limits, .live = realm->live, .bytes = realm->bytes};
  memcpy(out->refused, realm->refused, sizeof out->refused);
}
