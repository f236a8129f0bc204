#include "wire/frame.h"

enum {
  LINE_MAX_BYTES = 1 << 16, /* subject, reply and numbers */
  TOKENS_MAX = 6,
};
#define PAYLOAD_MAX (UINT64_C(1) << 30) /* more than any server allows */

#define HEAD "NATS/1.0\r\n"

/* -- reading -- */

static bool number(ae_str text, uint64_t *out) {
  uint64_t n = 0;
  if (text.len == 0 || text.len > 18) return false;
  for (size_t i = 0; i < text.len; i++) {
    if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
    n = n * 10 + (uint64_t)(text.ptr[i] - '0');
  }
  *out = n;
  return true;
}

/* Words of a line; TOKENS_MAX where there are too many. */
static int split(const char *at, const char *end, ae_str *tokens) {
  int count = 0;
  while (count < TOKENS_MAX) {
    while (at < end && (*at == ' ' || *at == '\t')) at++;
    if (at == end) break;
    const char *from = at;
    while (at < end && *at != ' ' && *at != '\t') at++;
    tokens[count++] = (ae_str){from, (size_t)(at - from)};
  }
  return count;
}

static void end_with_nul(ae_str text) {
  ((char *)text.ptr)[text.len] = 0;
}

/* MSG SUBJECT SID [REPLY] BYTES
 * HMSG SUBJECT SID [REPLY] HEADER-BYTES BYTES */
static ae__frame_kind message(char *bytes, size_t len, char *newline,
                              ae__frame *out) {
  ae_str tokens[TOKENS_MAX];
  char *end = newline;
  if (end > bytes && end[-1] == '\r') end--;
  bool headers = *bytes == 'H';
  int count = split(bytes, end, tokens), least = headers ? 5 : 4;
  if (!ae_str_eq(tokens[0], headers ? AE_STR("HMSG") : AE_STR("MSG")) ||
      count < least || count > least + 1)
    return AE__FRAME_WRONG;
  uint64_t head = 0, all;
  if (!number(tokens[2], &out->sid) || !number(tokens[count - 1], &all) ||
      (headers && !number(tokens[count - 2], &head)) || head > all ||
      all > PAYLOAD_MAX)
    return AE__FRAME_WRONG;
  char *body = newline + 1;
  out->len = (size_t)(body - bytes) + all + 2;
  if (len < out->len) return AE__FRAME_PARTIAL;
  if (bytes[out->len - 2] != '\r' || bytes[out->len - 1] != '\n')
    return AE__FRAME_WRONG;
  out->subject = tokens[1].ptr;
  out->reply = count > least ? tokens[3].ptr : NULL;
  out->headers = (ae_str){body, head};
  out->body = (ae_str){body + head, all - head};
  end_with_nul(tokens[1]);
  if (out->reply) end_with_nul(tokens[3]);
  end_with_nul(out->body);
  return AE__FRAME_MESSAGE;
}

ae__frame_kind ae__frame_read(char *bytes, size_t len, ae__frame *out) {
  out->len = 0;
  if (len == 0) return AE__FRAME_PARTIAL;
  bool ours = *bytes == 'M' || *bytes == 'H';
  if (!ours && !memchr("+-PI", *bytes, 4)) return AE__FRAME_WRONG;
  char *newline = memchr(bytes, '\n', len);
  if (ours && newline) return message(bytes, len, newline, out);
  if (ours) return len > LINE_MAX_BYTES ? AE__FRAME_WRONG : AE__FRAME_PARTIAL;
  out->len = newline ? (size_t)(newline + 1 - bytes) : 0;
  return AE__FRAME_CONTROL;
}

static bool blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == 0;
}

const char *ae__frame_header(ae_str headers, const char *key) {
  size_t len = strlen(key);
  const char *at = headers.ptr, *end = headers.ptr + headers.len;
  for (const char *newline; at < end; at = newline + 1) {
    newline = memchr(at, '\n', (size_t)(end - at));
    if (!newline) return NULL;
    if ((size_t)(newline - at) <= len || at[len] != ':' ||
        memcmp(at, key, len) != 0)
      continue;
    if (newline[-1] != '\r' && newline[-1] != 0) return NULL;
    const char *value = at + len + 1, *last = newline - 1;
    while (value < last && blank(*value)) value++;
    while (last > value && blank(last[-1])) last--;
    *(char *)last = 0; /* a blank or the \r; lines are told by their \n */
    return value;
  }
  return NULL;
}

unsigned ae__frame_status(ae_str headers) {
  unsigned status = 0;
  size_t at = sizeof "NATS/1.0 " - 1;
  for (; at < headers.len && at < sizeof "NATS/1.0 999" - 1; at++) {
    if (headers.ptr[at] < '0' || headers.ptr[at] > '9') return 0;
    status = status * 10 + (unsigned)(headers.ptr[at] - '0');
  }
  return at == sizeof "NATS/1.0 999" - 1 ? status : 0;
}

/* -- writing -- */

bool ae__frame_subject(const char *subject) {
  return *subject && subject[strcspn(subject, " \t\r\n")] == 0;
}

static size_t head_size(const ae_wire_header *headers) {
  size_t size = sizeof HEAD - 1 + 2;
  if (!headers || !headers->key) return 0;
  for (; headers->key; headers++)
    size += strlen(headers->key) + 2 + strlen(headers->value) + 2;
  return size;
}

size_t ae__frame_size(const ae_wire_header *headers, ae_str body) {
  return head_size(headers) + body.len;
}

static char *put(char *to, const char *text, size_t len) {
  memcpy(to, text, len);
  return to + len;
}

static char *put_number(char *to, size_t number) {
  char digits[24], *at = digits + sizeof digits;
  do *--at = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  return put(to, at, (size_t)(digits + sizeof digits - at));
}

static char *put_header(char *to, const ae_wire_header *header) {
  to = put(to, header->key, strlen(header->key));
  to = put(to, ": ", 2);
  for (const char *at = header->value; *at; at++)
    *to++ = *at == '\r' || *at == '\n' ? ' ' : *at;
  return put(to, "\r\n", 2);
}

void ae__frame_put(ae_buf *out, const char *subject, const char *reply,
                   const ae_wire_header *headers, ae_str body) {
  size_t head = head_size(headers), subject_len = strlen(subject);
  size_t reply_len = reply ? strlen(reply) : 0;
  ae_buf_reserve(out, 64 + subject_len + reply_len + head + body.len);
  char *to = out->ptr + out->len;
  to = head ? put(to, "HPUB ", 5) : put(to, "PUB ", 4);
  to = put(to, subject, subject_len);
  *to++ = ' ';
  if (reply) {
    to = put(to, reply, reply_len);
    *to++ = ' ';
  }
  if (head) {
    to = put_number(to, head);
    *to++ = ' ';
  }
  to = put_number(to, head + body.len);
  to = put(to, "\r\n", 2);
  if (head) {
    to = put(to, HEAD, sizeof HEAD - 1);
    for (; headers->key; headers++) to = put_header(to, headers);
    to = put(to, "\r\n", 2);
  }
  if (body.len) to = put(to, body.ptr, body.len);
  to = put(to, "\r\n", 2);
  out->len = (size_t)(to - out->ptr);
}
