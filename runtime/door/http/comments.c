#include "door/http/comments.h"

#include <stdio.h>

#include "base/mem.h"

#define FILE_MAX (1u << 20) /* more of a file is not looked at */

typedef struct comment {
  char *command; /* owned; NULL: of the module */
  ae_buf text;
} comment;

struct ae__comments {
  comment *all;
  size_t count;
};

static bool starts(ae_str line, const char *with) {
  size_t len = strlen(with);
  return line.len >= len && memcmp(line.ptr, with, len) == 0;
}

static ae_str without(ae_str text, size_t bytes) {
  return (ae_str){text.ptr + bytes, text.len - bytes};
}

static ae_str trimmed(ae_str text) {
  while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
    text = without(text, 1);
  while (text.len > 0 && strchr(" \t\r", text.ptr[text.len - 1])) text.len--;
  return text;
}

static bool name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* The command that a line defines; len 0: none. `function decide.NAME(` and
 * `decide.NAME = …`, the module's table before it or not. */
static ae_str defined(ae_str line) {
  line = trimmed(line);
  if (starts(line, "function ")) line = trimmed(without(line, 9));
  for (size_t i = 0; i + 7 < line.len; i++) {
    bool inside = i > 0 && line.ptr[i - 1] != '.';
    if (!name_byte(line.ptr[i]) && line.ptr[i] != '.') break;
    if (inside || !starts(without(line, i), "decide.")) continue;
    ae_str name = without(line, i + 7);
    size_t len = 0;
    while (len < name.len && name_byte(name.ptr[len])) len++;
    ae_str rest = trimmed(without(name, len));
    name.len = len;
    return starts(rest, "(") || starts(rest, "=") ? name : (ae_str){0};
  }
  return (ae_str){0};
}

static void keep(ae__comments *comments, ae_str command, ae_buf *block) {
  while (block->len > 0 && block->ptr[block->len - 1] == '\n') block->len--;
  bool module = command.len == 0;
  bool there = module && ae__comments_module(comments).len > 0;
  if (block->len == 0 || !ae_str_utf8(ae_buf_view(block)) || there) {
    ae_buf_reset(block);
    return;
  }
  size_t size = (comments->count + 1) * sizeof(comment);
  comments->all = ae_realloc(comments->all, size);
  comment *one = &comments->all[comments->count++];
  *one = (comment){0};
  if (!module) {
    one->command = ae_alloc(command.len + 1);
    memcpy(one->command, command.ptr, command.len);
    one->command[command.len] = 0;
  }
  ae_buf_move(&one->text, block);
}

ae__comments *ae__comments_in(ae_str text) {
  ae__comments *comments = ae_zalloc(sizeof *comments);
  ae_buf block = {0};
  bool inside = false; /* a `---` block */
  bool first = true;   /* nothing but blank lines and comments before */
  bool tags = false;   /* of the block: what follows is for tools */
  while (text.len > 0) {
    const char *end = memchr(text.ptr, '\n', text.len);
    ae_str line = {text.ptr, end ? (size_t)(end - text.ptr) : text.len};
    text = without(text, line.len + (end != NULL));
    line = trimmed(line);
    if (starts(line, "---") || (inside && starts(line, "--"))) {
      bool begins = !inside || starts(line, "---");
      ae_str words = trimmed(without(line, starts(line, "---") ? 3 : 2));
      if (!inside) tags = false;
      inside = true;
      tags = tags || starts(words, "@");
      if (tags || (begins && words.len == 0 && block.len == 0)) continue;
      if (block.len > 0) ae_buf_byte(&block, '\n');
      ae_buf_str(&block, words);
      continue;
    }
    ae_str command = defined(line);
    if (inside && command.len > 0)
      keep(comments, command, &block);
    else if (inside && first)
      keep(comments, (ae_str){0}, &block);
    ae_buf_reset(&block);
    inside = false;
    if (line.len > 0 && !starts(line, "--")) first = false;
  }
  ae_buf_clear(&block);
  return comments;
}

ae__comments *ae__comments_of(const char *file) {
  ae_buf text = {0};
  FILE *stream = fopen(file, "rb");
  if (stream) {
    ae_buf_reserve(&text, FILE_MAX);
    text.len = fread(text.ptr, 1, FILE_MAX, stream);
    fclose(stream);
  }
  ae__comments *comments = ae__comments_in(ae_buf_view(&text));
  ae_buf_clear(&text);
  return comments;
}

void ae__comments_free(ae__comments *comments) {
  if (!comments) return;
  for (size_t i = 0; i < comments->count; i++) {
    ae_free(comments->all[i].command);
    ae_buf_clear(&comments->all[i].text);
  }
  ae_free(comments->all);
  ae_free(comments);
}

ae_str ae__comments_module(const ae__comments *comments) {
  for (size_t i = 0; i < comments->count; i++)
    if (!comments->all[i].command) return ae_buf_view(&comments->all[i].text);
  return (ae_str){0};
}

ae_str ae__comments_command(const ae__comments *comments, ae_str command) {
  for (size_t i = 0; i < comments->count; i++)
    if (comments->all[i].command &&
        ae_str_eq(command, ae_str_of(comments->all[i].command)))
      return ae_buf_view(&comments->all[i].text);
  return (ae_str){0};
}
