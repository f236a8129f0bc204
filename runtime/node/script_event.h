/* From what the store gives to what evolve takes. */
#ifndef AE_NODE_SCRIPT_EVENT_H
#define AE_NODE_SCRIPT_EVENT_H

#include "event/event.h"
#include "script/script.h"

static inline ae_script_event ae__script_event_of(const ae_event *event) {
  return (ae_script_event){.id = event->id,
                           .type = event->type,
                           .revision = event->revision,
                           .version = event->version,
                           .time = event->time,
                           .data = event->data,
                           .metadata = event->metadata,
                           .command_metadata = event->command_metadata};
}

#endif
