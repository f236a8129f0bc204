/* An intrusive, circular, doubly linked list. A head and a link are the same
 * struct; an initialised link points to itself. */
#ifndef AE_BASE_LIST_H
#define AE_BASE_LIST_H

#include <stdbool.h>

typedef struct ae_list {
  struct ae_list *next;
  struct ae_list *prev;
} ae_list;

static inline void ae_list_init(ae_list *list) {
  list->next = list->prev = list;
}
static inline bool ae_list_empty(const ae_list *list) {
  return list->next == list;
}
static inline void ae_list_remove(ae_list *link) {
  link->prev->next = link->next;
  link->next->prev = link->prev;
  ae_list_init(link);
}
/* Behind the last. */
static inline void ae_list_push(ae_list *head, ae_list *link) {
  link->next = head;
  link->prev = head->prev;
  head->prev->next = link;
  head->prev = link;
}
/* Before the first. */
static inline void ae_list_unshift(ae_list *head, ae_list *link) {
  ae_list_push(head->next, link);
}
/* The first, taken out; NULL for an empty list. */
static inline ae_list *ae_list_shift(ae_list *head) {
  if (ae_list_empty(head)) return 0;
  ae_list *link = head->next;
  ae_list_remove(link);
  return link;
}

#endif
