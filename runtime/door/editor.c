#include "door/editor.h"

#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "base/mem.h"

#define REMEMBERED 1000 /* inputs */
#define COLUMNS 72      /* of the list of candidates */

struct ae__editor {
  EditLine *el;
  History *history;
  char *file;
  const char *prompt;
  ae__editor_complete complete;
  void *data;
  bool canceled;
};

static ae__editor *editor_of(EditLine *el) {
  void *data = NULL;
  el_get(el, EL_CLIENTDATA, &data);
  return data;
}

static char *prompt_of(EditLine *el) {
  union {
    const char *text;
    char *out;
  } as = {.text = editor_of(el)->prompt};
  return as.out;
}

static unsigned char on_cancel(EditLine *el, int key) {
  (void)key;
  editor_of(el)->canceled = true;
  return CC_NEWLINE;
}

/* -- completing -- */

/* The longest start that all words share. */
static size_t shared(ae_str words) {
  size_t len = strlen(words.ptr);
  for (const char *at = words.ptr; at < words.ptr + words.len;
       at += strlen(at) + 1) {
    size_t same = 0;
    while (same < len && at[same] == words.ptr[same]) same++;
    len = same;
  }
  return len;
}

static void list_words(ae_str words) {
  size_t widest = 0, column = 0;
  const char *end = words.ptr + words.len;
  for (const char *at = words.ptr; at < end; at += strlen(at) + 1)
    if (strlen(at) > widest) widest = strlen(at);
  printf("\n");
  for (const char *at = words.ptr; at < end; at += strlen(at) + 1) {
    if (column > 0 && column + widest > COLUMNS) {
      printf("\n");
      column = 0;
    }
    printf("%-*s", (int)widest + 2, at);
    column += widest + 2;
  }
  printf("\n");
  fflush(stdout);
}

static unsigned char on_complete(EditLine *el, int key) {
  (void)key;
  ae__editor *editor = editor_of(el);
  const LineInfo *line = el_line(el);
  ae_str before = {line->buffer, (size_t)(line->cursor - line->buffer)};
  ae_buf words = {0};
  unsigned char answer = CC_ERROR;
  size_t typed = editor->complete(editor->data, before, &words);
  if (words.len > 0) {
    bool alone = strlen(words.ptr) + 1 == words.len;
    size_t len = shared(ae_buf_view(&words));
    if (len > typed) {
      ae_buf rest = {0};
      ae_buf_add(&rest, words.ptr + typed, len - typed);
      el_insertstr(el, ae_buf_cstr(&rest));
      ae_buf_clear(&rest);
      answer = CC_REFRESH;
    } else if (!alone) {
      list_words(ae_buf_view(&words));
      answer = CC_REDISPLAY;
    }
  }
  ae_buf_clear(&words);
  return answer;
}

/* -- opening and closing -- */

ae__editor *ae__editor_open(const char *file, ae__editor_complete complete,
                            void *data) {
  ae__editor *editor = ae_zalloc(sizeof *editor);
  setlocale(LC_CTYPE, ""); /* so that a character is one, of several bytes */
  editor->complete = complete;
  editor->data = data;
  editor->file = file ? ae_strdup(file) : NULL;
  editor->prompt = "";
  HistEvent event;
  editor->history = history_init();
  history(editor->history, &event, H_SETSIZE, REMEMBERED);
  history(editor->history, &event, H_SETUNIQUE, 1);
  if (file) history(editor->history, &event, H_LOAD, file);
  EditLine *el = editor->el = el_init("aether", stdin, stdout, stderr);
  el_set(el, EL_CLIENTDATA, editor);
  el_set(el, EL_PROMPT, prompt_of);
  el_set(el, EL_HIST, history, editor->history);
  el_set(el, EL_EDITOR, "emacs");
  el_set(el, EL_SIGNAL, 0);
  el_set(el, EL_SETTY, "-d", "-isig", NULL); /* Ctrl-C is a key here */
#ifdef __SANITIZE_ADDRESS__
  __lsan_disable(); /* el_end never frees the names of functions */
#endif
  el_set(el, EL_ADDFN, "aether-cancel", "drop the line", on_cancel);
  el_set(el, EL_ADDFN, "aether-complete", "complete a word", on_complete);
#ifdef __SANITIZE_ADDRESS__
  __lsan_enable();
#endif
  el_set(el, EL_BIND, "^C", "aether-cancel", NULL);
  el_set(el, EL_BIND, "^I", "aether-complete", NULL);
  el_set(el, EL_BIND, "^R", "em-inc-search-prev", NULL);
  el_set(el, EL_BIND, "\033[1;5C", "em-next-word", NULL);
  el_set(el, EL_BIND, "\033[1;5D", "ed-prev-word", NULL);
  return editor;
}

/* For its owner's eyes alone. */
static void save(ae__editor *editor) {
  HistEvent event;
  int fd = open(editor->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return; /* a folder that nobody may write to costs a history */
  fchmod(fd, 0600);
  close(fd);
  history(editor->history, &event, H_SAVE, editor->file);
}

void ae__editor_close(ae__editor *editor) {
  if (!editor) return;
  if (editor->file) save(editor);
  el_end(editor->el);
  history_end(editor->history);
  ae_free(editor->file);
  ae_free(editor);
}

ae__editor_end ae__editor_read(ae__editor *editor, const char *prompt,
                               ae_str *line) {
  int len = 0;
  editor->prompt = prompt;
  editor->canceled = false;
  const char *text = el_gets(editor->el, &len);
  if (editor->canceled) {
    printf("^C\n");
    fflush(stdout);
    return AE__EDITOR_CANCEL;
  }
  if (!text || len <= 0) return AE__EDITOR_EOF;
  size_t count = strlen(text);
  while (count > 0 && (text[count - 1] == '\n' || text[count - 1] == '\r'))
    count--;
  *line = (ae_str){text, count};
  return AE__EDITOR_LINE;
}

void ae__editor_remember(ae__editor *editor, const char *text) {
  HistEvent event;
  history(editor->history, &event, H_ENTER, text);
}
