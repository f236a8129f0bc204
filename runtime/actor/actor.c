#include "actor/actor.h"

#include "actor/internal.h"

#define QUEUE_DEFAULT 65536

static void on_flush(ae_task *task) {
  ae__flush(AE_CONTAINER(task, ae_actors, flush));
}

static void on_close(ae_task *task) {
  ae_actors *actors = AE_CONTAINER(task, ae_actors, close);
  actors->close_deferred = false;
  if (actors->busy > 0) return; /* the last release comes back */
  if (actors->flushing) {       /* its task is behind this one */
    actors->close_deferred = true;
    ae_loop_defer(actors->loop, &actors->close);
    return;
  }
  AE_ASSERT_CMP(actors->waiting, ==, 0);
  size_t at = 0;
  ae_realm *realm;
  while ((realm = ae_map_next(&actors->realms, &at))) ae__realm_free(realm);
  ae_map_clear(&actors->realms);
  ae__pool_free(actors->pool);
  ae_free(actors->incoming.ring);
  ae_buf_clear(&actors->events);
  ae_free(actors->kept);
  void (*closed)(void *) = actors->closed;
  void *data = actors->closed_data;
  ae_free(actors);
  closed(data);
}

ae_actors *ae_actors_new(ae_loop *loop, ae_store *store,
                         const ae_actors_options *options) {
  ae_actors *actors = ae_zalloc(sizeof *actors);
  actors->loop = loop;
  actors->store = store;
  actors->bus = options ? options->bus : NULL;
  actors->node = ae_str_of(options && options->node ? options->node : "");
  actors->queue_limit =
      options && options->queue_limit ? options->queue_limit : QUEUE_DEFAULT;
  ae_list_init(&actors->dirty);
  ae_list_init(&actors->delayed);
  actors->flush.run = on_flush;
  actors->close.run = on_close;
  return actors;
}

ae_realm *ae_actors_realm(ae_actors *actors, ae_str name, ae_script *script,
                          const ae_limits *limits, ae_str policy) {
  ae_realm *realm = ae_zalloc(sizeof *realm);
  realm->actors = actors;
  realm->name = name;
  realm->script = script;
  realm->policy = policy;
  ae_list_init(&realm->ring);
  ae__quota_init(realm, limits);
  AE_ASSERT(!ae_map_put(&actors->realms, realm->name, realm));
  return realm;
}

void ae_actors_close(ae_actors *actors, void (*cb)(void *data), void *data) {
  actors->closing = true;
  actors->closed = cb;
  actors->closed_data = data;
  ae__hold(actors);
  ae__delays_cancel(actors);
  ae__release(actors); /* the last release closes */
}
