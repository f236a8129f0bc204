#include "door/http/request.h"

#include <strings.h>

#include "base/mem.h"

enum scan {
  START,
  START_CR, /* of an empty line before the request */
  LINE,
  LINE_CR,
  FIELD, /* at the start of a line */
  NAME,
  VALUE,
  VALUE_CR,
  LAST_CR,
  WHOLE,
};

enum { TOKEN = 1, TEXT = 2, PRINT = 4 };

/* RFC 9110: tchar; what a field's value may hold; what the request line may,
 * spaces aside. */
static const uint8_t kinds[256] = {
#define T (TOKEN | TEXT | PRINT)
#define P (TEXT | PRINT)
    ['\t'] = TEXT, [' '] = TEXT,      ['!'] = T,         ['"'] = P,
    ['#'] = T,     ['$'] = T,         ['%'] = T,         ['&'] = T,
    ['\''] = T,    ['('] = P,         [')'] = P,         ['*'] = T,
    ['+'] = T,     [','] = P,         ['-'] = T,         ['.'] = T,
    ['/'] = P,     ['0' ... '9'] = T, [':' ... '@'] = P, ['A' ... 'Z'] = T,
    ['['] = P,     ['\\'] = P,        [']'] = P,         ['^'] = T,
    ['_'] = T,     ['`'] = T,         ['a' ... 'z'] = T, ['{'] = P,
    ['|'] = T,     ['}'] = P,         ['~'] = T,         [0x80 ... 0xff] = TEXT,
#undef T
#undef P
};

/* -- its memory -- */

/* Kept from one request to the next. */
#define KEEP_BYTES 4096

static void empty(ae_buf *buf) {
  if (buf->cap > KEEP_BYTES)
    ae_buf_clear(buf);
  else
    ae_buf_reset(buf);
}

void ae__request_init(ae__request *r) {
  memset(r, 0, sizeof *r);
  r->chunk = SIZE_MAX;
}

void ae__request_reset(ae__request *r) {
  ae_buf head = r->head, decoded = r->decoded, params = r->params,
         body = r->body, headers = r->headers;
  empty(&head);
  empty(&decoded);
  empty(&params);
  empty(&body);
  empty(&headers);
  /* Fields beyond field_count are never read. */
  memset(r, 0, offsetof(ae__request, fields));
  memset((char *)r + offsetof(ae__request, decoded), 0,
         sizeof *r - offsetof(ae__request, decoded));
  r->head = head;
  r->decoded = decoded;
  r->params = params;
  r->body = body;
  r->headers = headers;
  r->chunk = SIZE_MAX;
}

void ae__request_clear(ae__request *r) {
  ae_buf_clear(&r->head);
  ae_buf_clear(&r->decoded);
  ae_buf_clear(&r->params);
  ae_buf_clear(&r->body);
  ae_buf_clear(&r->headers);
}

/* -- the scan -- */

static int bad(ae_error *err, const char *what) {
  ae_error_set(err, AE_MALFORMED, "%s", what);
  return 400;
}

/* What an unexpected byte means, by where it stands. */
static int bad_byte(uint8_t scan, uint8_t byte, ae_error *err) {
  switch (scan) {
    case START:
      if (byte == 0x16)
        return bad(err,
                   "this port speaks plain HTTP, and TLS came; use http://");
      return bad(err, "a request begins with its method");
    case LINE:
      if (byte == '\n')
        return bad(err,
                   "the request line ends with LF alone; it must be CR LF");
      return bad(err, byte >= 0x80
                          ? "the target holds a byte beyond ASCII; it must be "
                            "percent-encoded"
                          : "a control character stands in the request line");
    case FIELD:
      if (byte == ' ' || byte == '\t')
        return bad(err, "a header is folded over two lines");
      return bad(err, "a header has no name");
    case NAME:
      if (byte == ' ' || byte == '\t')
        return bad(err, "a blank stands before the colon of a header");
      return bad(err, "a header's name holds a character that no name has");
    case VALUE:
      if (byte == '\n')
        return bad(err, "a header ends with LF alone; it must be CR LF");
      return bad(err, "a control character stands in a header");
    default:
      return bad(err, "a CR stands without its LF");
  }
}

/* The request line is whole: METHOD SP TARGET SP HTTP/1.x CR LF. */
static int check_line(ae__request *r, ae_error *err) {
  size_t len = r->head.len - 2;
  const char *version = r->head.ptr + len - 8;
  if (r->spaces < 2) return bad(err, "the request line names no HTTP version");
  bool shaped = len > 8 && memcmp(version, "HTTP/", 5) == 0 &&
                version[5] >= '0' && version[5] <= '9' && version[6] == '.' &&
                version[7] >= '0' && version[7] <= '9' && version[-1] == ' ';
  if (!shaped) return bad(err, "the request line does not end with HTTP/1.1");
  if (version[5] == '1' && (version[7] == '0' || version[7] == '1')) {
    r->old = version[7] == '0';
    return 0;
  }
  ae_error_set(err, AE_MALFORMED,
               "this door speaks HTTP/1.1 and HTTP/1.0, not %.8s", version);
  return 505;
}

static int too_long(int status, size_t limit, ae_error *err) {
  ae_error_set(err, AE_TOO_LARGE, "%s longer than %zu bytes",
               status == 414 ? "the request line is" : "the headers are",
               limit);
  ae_error_uint(err, "limit", limit);
  return status;
}

/* Steps over what a state takes as it is. */
static const uint8_t *run(uint8_t scan, const uint8_t *at, const uint8_t *end) {
  uint8_t kind = scan == NAME ? TOKEN : scan == LINE ? PRINT : TEXT;
  while (at < end && kinds[*at] & kind) at++;
  return at;
}

/* One byte that `run` stopped at; the next state, or -1. */
static int step(ae__request *r, uint8_t byte) {
  switch (r->scan) {
    case START:
      if (byte == '\r' && !r->skipped) return START_CR;
      return kinds[byte] & TOKEN ? LINE : -1;
    case START_CR:
      r->skipped = true;
      return byte == '\n' ? START : -1;
    case LINE:
      if (byte == ' ' && ++r->spaces <= 2) return LINE;
      return byte == '\r' ? LINE_CR : -1;
    case LINE_CR:
    case VALUE_CR:
      return byte == '\n' ? FIELD : -1;
    case FIELD:
      if (byte == '\r') return LAST_CR;
      return kinds[byte] & TOKEN ? NAME : -1;
    case NAME:
      return byte == ':' ? VALUE : -1;
    case VALUE:
      return byte == '\r' ? VALUE_CR : -1;
    default:
      return byte == '\n' ? WHOLE : -1;
  }
}

bool ae__request_whole(const ae__request *r) {
  return r->scan == WHOLE;
}

int ae__request_take(ae__request *r, ae_str bytes, size_t limit, size_t *used,
                     ae_error *err) {
  /* No further than the first byte too many: what is said of a head that is
   * too long and wrong depends on no piece that it came in. */
  if (bytes.len > limit + 1 - r->head.len) bytes.len = limit + 1 - r->head.len;
  const uint8_t *begin = (const uint8_t *)bytes.ptr, *end = begin + bytes.len;
  const uint8_t *at = begin, *kept = begin;
  int status = 0;
  while (at < end && r->scan != WHOLE && status == 0) {
    uint8_t from = r->scan;
    if (from == LINE || from == NAME || from == VALUE) {
      at = run(from, at, end);
      if (at == end) break;
    }
    uint8_t byte = *at++;
    int next = step(r, byte);
    if (next < 0) {
      status = from == LINE && byte == ' '
                   ? bad(err, "the request line holds more than two spaces")
                   : bad_byte(from, byte, err);
      break;
    }
    r->scan = (uint8_t)next;
    if (next == START) kept = at;
    if (from == LINE_CR) {
      ae_buf_add(&r->head, kept, (size_t)(at - kept));
      kept = at;
      status =
          r->head.len > limit ? too_long(414, limit, err) : check_line(r, err);
    }
  }
  *used = (size_t)(at - begin);
  if (r->scan != START && r->scan != START_CR)
    ae_buf_add(&r->head, kept, (size_t)(at - kept));
  if (status == 0 && r->head.len > limit)
    status = too_long(r->scan <= LINE_CR ? 414 : 431, limit, err);
  return status;
}

/* -- the head -- */

static ae__request *of(llhttp_t *parser) {
  return AE_CONTAINER(parser, ae__request, parser);
}

static int on_url(llhttp_t *parser, const char *at, size_t len) {
  of(parser)->target = (ae_str){at, len};
  return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t len) {
  ae__request *r = of(parser);
  if (r->head_done) return 0; /* trailers are read and left alone */
  if (r->field_count == AE__FIELDS_MAX) return -1;
  ae__field *field = &r->fields[r->field_count++];
  *field = (ae__field){.name = (uint32_t)(at - r->head.ptr),
                       .name_len = (uint32_t)len};
  return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len) {
  ae__request *r = of(parser);
  if (r->head_done) return 0;
  while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t')) len--;
  ae__field *field = &r->fields[r->field_count - 1];
  field->value = (uint32_t)(at - r->head.ptr);
  field->value_len = (uint32_t)len;
  return 0;
}

static int on_head(llhttp_t *parser) {
  ae__request *r = of(parser);
  r->head_done = true;
  r->keep = llhttp_should_keep_alive(parser);
  r->chunked = (parser->flags & F_CHUNKED) != 0;
  r->has_length = (parser->flags & F_CONTENT_LENGTH) != 0;
  r->length = parser->content_length;
  return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len) {
  ae__request *r = of(parser);
  if (len == 0) return 0;
  r->piece_end = at + len;
  r->body_seen += len;
  ae__piece_is is = r->piece(r, (ae_str){at, len});
  if (is == AE__PIECE_REFUSED) return -1;
  return is == AE__PIECE_TAKEN ? 0 : HPE_PAUSED;
}

/* Paused, so that what stands behind the request is not read with it. */
static int on_whole(llhttp_t *parser) {
  of(parser)->body_done = true;
  return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_whole,
};

static void lower(char *at, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (at[i] >= 'A' && at[i] <= 'Z') at[i] = (char)(at[i] + 'a' - 'A');
}

static ae_str name_of(const ae__request *r, const ae__field *field) {
  return (ae_str){r->head.ptr + field->name, field->name_len};
}

static ae_str value_of(const ae__request *r, const ae__field *field) {
  return (ae_str){r->head.ptr + field->value, field->value_len};
}

ae_str ae__exchange_header(const ae__exchange *x, const char *name) {
  const ae__request *r = (const ae__request *)x;
  ae_str wanted = ae_str_of(name);
  for (uint32_t i = 0; i < r->field_count; i++)
    if (ae_str_eq(name_of(r, &r->fields[i]), wanted))
      return value_of(r, &r->fields[i]);
  return (ae_str){0};
}

static bool same_word(ae_str text, const char *word) {
  return text.len == strlen(word) && strncasecmp(text.ptr, word, text.len) == 0;
}

/* Headers that mean nothing, or something dangerous, when they come twice. */
static int check_once(const ae__request *r, ae_error *err) {
  static const char *const once[] = {
      "host",   "authorization", "content-type",    "transfer-encoding",
      "expect", "if-match",      "idempotency-key", "last-event-id",
      "origin"};
  uint32_t seen = 0;
  for (uint32_t i = 0; i < r->field_count; i++) {
    ae_str name = name_of(r, &r->fields[i]);
    for (size_t k = 0; k < sizeof once / sizeof *once; k++) {
      if (!ae_str_eq(name, ae_str_of(once[k]))) continue;
      if (seen & (1u << k)) {
        ae_error_set(err, AE_MALFORMED, "the header %s came twice", once[k]);
        return 400;
      }
      seen |= 1u << k;
    }
  }
  if (!r->old && !(seen & 1)) return bad(err, "the header Host is missing");
  return 0;
}

/* A name or an address, and perhaps a port: nothing that parts of a URL could
 * hide in. */
static int check_host(const ae__request *r, ae_error *err) {
  ae_str host = ae__exchange_header(&r->x, "host");
  for (size_t i = 0; i < host.len; i++)
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                "0123456789.-_~:[]%",
                host.ptr[i]))
      return bad(err, "the header Host is no host");
  return 0;
}

static int check_framing(const ae__request *r, ae_error *err) {
  ae_str coding = ae__exchange_header(&r->x, "transfer-encoding");
  if (coding.ptr && r->old)
    return bad(err, "HTTP/1.0 has no Transfer-Encoding");
  if (coding.ptr && (!same_word(coding, "chunked") || !r->chunked)) {
    ae_error_set(err, AE_MALFORMED,
                 "of the transfer encodings only chunked is understood");
    return 501;
  }
  coding = ae__exchange_header(&r->x, "content-encoding");
  if (coding.ptr && !same_word(coding, "identity")) {
    ae_error_set(err, AE_MALFORMED, "a body must come without compression");
    return 415;
  }
  ae_str expect = ae__exchange_header(&r->x, "expect");
  if (expect.ptr && !same_word(expect, "100-continue")) {
    ae_error_set(err, AE_MALFORMED, "only 100-continue can be expected");
    return 417;
  }
  return 0;
}

/* llhttp knows the methods of HTTP and of some relatives. */
static int unknown_method(ae__request *r, ae_error *err) {
  size_t len = 0;
  while (len < r->head.len && r->head.ptr[len] != ' ') len++;
  ae_error_set(err, AE_MALFORMED, "there is no method ");
  ae_error_quote(err, (ae_str){r->head.ptr, len});
  return 501;
}

int ae__request_read(ae__request *r, ae_error *err) {
  llhttp_init(&r->parser, HTTP_REQUEST, &settings);
  llhttp_errno_t error = llhttp_execute(&r->parser, r->head.ptr, r->head.len);
  if (r->field_count == AE__FIELDS_MAX && !r->head_done) {
    ae_error_set(err, AE_TOO_LARGE, "a request has at most %d headers",
                 AE__FIELDS_MAX);
    ae_error_uint(err, "limit", AE__FIELDS_MAX);
    return 431;
  }
  if (error == HPE_INVALID_METHOD || error == HPE_INVALID_CONSTANT)
    return unknown_method(r, err);
  if (error != HPE_OK && error != HPE_PAUSED && error != HPE_PAUSED_UPGRADE) {
    const char *reason = llhttp_get_error_reason(&r->parser);
    return bad(err, reason && reason[0] ? reason : llhttp_errno_name(error));
  }
  AE_ASSERT(r->head_done);
  for (uint32_t i = 0; i < r->field_count; i++)
    lower(r->head.ptr + r->fields[i].name, r->fields[i].name_len);
  llhttp_method_t method = (llhttp_method_t)llhttp_get_method(&r->parser);
  r->is_head = method == HTTP_HEAD;
  r->x.method = r->is_head || method == HTTP_GET ? AE__METHOD_GET
                : method == HTTP_POST            ? AE__METHOD_POST
                                                 : AE__METHOD_OTHER;
  int status = check_once(r, err);
  if (status == 0) status = check_host(r, err);
  if (status == 0) status = check_framing(r, err);
  if (status == 0) status = ae__target_read(r, err);
  return status;
}

/* -- the body -- */

static void keep_tail(ae__request *r, const char *at, size_t len) {
  if (len > 4) {
    at += len - 4;
    len = 4;
  }
  for (; len > 0; len--) r->tail = r->tail << 8 | (uint8_t)*at++;
}

ae__body_is ae__request_body(ae__request *r, ae_str bytes, size_t limit,
                             size_t *used, ae_error *err) {
  r->piece_end = NULL;
  /* As with the head: no further than the first byte of framing too many. */
  if (r->chunked && bytes.len > limit + 1 - r->gap)
    bytes.len = limit + 1 - r->gap;
  /* NULL would make llhttp forget that it is inside a piece. */
  if (!bytes.ptr) bytes.ptr = "";
  llhttp_errno_t error = llhttp_execute(&r->parser, bytes.ptr, bytes.len);
  *used = bytes.len;
  if (error == HPE_PAUSED) {
    *used = (size_t)(llhttp_get_error_pos(&r->parser) - bytes.ptr);
    llhttp_resume(&r->parser);
  } else if (error != HPE_OK) {
    if (err && err->status == AE_OK)
      bad(err, llhttp_get_error_reason(&r->parser));
    return AE__BODY_BAD;
  }
  if (r->chunked) {
    keep_tail(r, bytes.ptr, *used);
    const char *end = bytes.ptr + *used;
    r->gap = r->piece_end ? (size_t)(end - r->piece_end) : r->gap + *used;
    if (r->body_done && r->tail != 0x0d0a0d0a) {
      bad(err, "the chunks end with LF alone; it must be CR LF");
      return AE__BODY_BAD;
    }
    if (r->gap > limit) {
      bad(err, "too many bytes stand between chunks");
      return AE__BODY_BAD;
    }
  }
  if (r->body_done) return AE__BODY_DONE;
  return error == HPE_PAUSED ? AE__BODY_PAUSED : AE__BODY_MORE;
}
