/* What waits is given to the wire once a turn: as much as it takes at once,
 * then the rest as one write, behind which the next gather. */
#include "door/http/server.h"
#include "door/http/tls.h"

/* A buffer that grew for one large answer is not kept for the next. */
#define KEEP_BYTES 16384

size_t ae__output_waiting(const ae__connection *c) {
  return c->out.len + (c->sending ? c->wire->unwritten(c) : 0);
}

static bool write_some(ae__connection *c, ae_buf *bytes) {
  int taken = c->wire->try_write(c, ae_buf_view(bytes));
  if (taken == UV_EAGAIN) taken = 0;
  if (taken < 0) return false;
  c->http->counts.bytes_out += bytes->len;
  if ((size_t)taken == bytes->len) {
    if (bytes->cap > KEEP_BYTES)
      ae_buf_clear(bytes);
    else
      ae_buf_reset(bytes);
    return true;
  }
  ae_buf_move(&c->sent, bytes);
  ae_str left = {c->sent.ptr + taken, c->sent.len - (size_t)taken};
  if (c->wire->write(c, left) != 0) return false;
  c->sending = true;
  c->unsent = left.len;
  ae__deadline_sending(c, true);
  return true;
}

bool ae__output_send(ae__connection *c) {
  if (c->request) ae__exchange_close_chunk(c->request);
  if (c->sending || c->broken) return !c->broken;
  ae_buf *bytes = &c->out;
  if (c->tls) {
    if (!ae__tls_seal(c)) return false;
    bytes = ae__tls_sealed(c);
  }
  return bytes->len == 0 || write_some(c, bytes);
}
