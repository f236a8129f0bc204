#include "door/http/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/mem.h"

/* A record of TLS holds no more. OpenSSL's buffers grow to the most that they
 * ever held, so they get no more than that at a time. */
#define RECORD 16384

struct ae__tls_shared {
  SSL_CTX *context;
};

struct ae__tls {
  SSL *ssl;
  BIO *in, *out; /* the SSL's */
  bool spoken;
  bool ended; /* the peer has said goodbye */
  ae_buf sealed;
};

/* -- what all share -- */

/* The oldest of OpenSSL's errors says what went wrong first. */
static ae_status wrong(ae_error *err, const char *what, const char *file) {
  unsigned long code = ERR_get_error();
  int reason = ERR_GET_REASON(code);
  const char *text = ERR_reason_error_string(code);
  if (ERR_GET_LIB(code) == ERR_LIB_SYS) {
    text = strerror(reason);
  } else if (ERR_GET_LIB(code) == ERR_LIB_PEM) {
    if (reason == PEM_R_NO_START_LINE) text = "it holds none as PEM";
    if (reason == PEM_R_BAD_PASSWORD_READ)
      text = "it has a password, which nobody could type in; take it off";
  } else if (ERR_GET_LIB(code) == ERR_LIB_X509 &&
             reason == X509_R_KEY_VALUES_MISMATCH) {
    text = "it is another certificate's";
  }
  ae_error_set(err, AE_USAGE, "tls: %s %s: %s", what, file,
               text ? text : "not understood");
  ERR_clear_error();
  return AE_USAGE;
}

/* A key with a password would ask on the terminal. */
static int no_password(char *buf, int size, int writing, void *data) {
  (void)buf, (void)size, (void)writing, (void)data;
  return -1;
}

static int pick_protocol(SSL *ssl, const unsigned char **out,
                         unsigned char *out_len, const unsigned char *in,
                         unsigned in_len, void *data) {
  static const unsigned char http11[] = "\x08http/1.1";
  (void)ssl, (void)data;
  unsigned char *picked = NULL;
  int found = SSL_select_next_proto(&picked, out_len, http11, sizeof http11 - 1,
                                    in, in_len);
  *out = picked;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK
                                         : SSL_TLSEXT_ERR_NOACK;
}

static ae_status load(SSL_CTX *context, const char *certificate,
                      const char *key, const char *ca, ae_error *err) {
  if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
    return wrong(err, "the certificate", certificate);
  if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
    return wrong(err, "the key", key);
  if (SSL_CTX_check_private_key(context) != 1)
    return wrong(err, "the key", key);
  if (!ca) return AE_OK;
  if (SSL_CTX_load_verify_file(context, ca) != 1)
    return wrong(err, "the certificates of those who sign clients'", ca);
  SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(ca));
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     NULL);
  return AE_OK;
}

ae_status ae__tls_new(const char *certificate, const char *key, const char *ca,
                      ae__tls_shared **out, ae_error *err) {
  ERR_clear_error();
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  AE_ASSERT(context != NULL);
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE |
                                   SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_id_context(context, (const unsigned char *)"aether", 6);
  SSL_CTX_set_default_passwd_cb(context, no_password);
  SSL_CTX_set_alpn_select_cb(context, pick_protocol, NULL);
  ae_status status = load(context, certificate, key, ca, err);
  if (status != AE_OK) {
    SSL_CTX_free(context);
    return status;
  }
  *out = ae_alloc(sizeof **out);
  (*out)->context = context;
  return AE_OK;
}

void ae__tls_free(ae__tls_shared *shared) {
  if (!shared) return;
  SSL_CTX_free(shared->context);
  ae_free(shared);
}

/* -- a connection's own -- */

ae__tls *ae__tls_accept(ae__tls_shared *shared) {
  ae__tls *tls = ae_zalloc(sizeof *tls);
  tls->ssl = SSL_new(shared->context);
  tls->in = BIO_new(BIO_s_mem());
  tls->out = BIO_new(BIO_s_mem());
  AE_ASSERT(tls->ssl && tls->in && tls->out);
  /* Empty is "later", not the end. */
  BIO_set_mem_eof_return(tls->in, -1);
  SSL_set_bio(tls->ssl, tls->in, tls->out);
  SSL_set_accept_state(tls->ssl);
  return tls;
}

void ae__tls_close(ae__tls *tls) {
  if (!tls) return;
  SSL_free(tls->ssl);
  ae_buf_clear(&tls->sealed);
  ae_free(tls);
}

/* Moves what OpenSSL has written behind what waits. */
static void collect(ae__tls *tls) {
  char *bytes;
  long len = BIO_get_mem_data(tls->out, &bytes);
  if (len <= 0) return;
  ae_buf_add(&tls->sealed, bytes, (size_t)len);
  (void)BIO_reset(tls->out);
}

bool ae__tls_spoken(const ae__tls *tls) {
  return tls->spoken;
}

/* Hands on what has come whole; whether more may come. */
static bool read_plain(ae__connection *c) {
  static char plain[RECORD]; /* one thread */
  ae__tls *tls = c->tls;
  int len;
  while ((len = SSL_read(tls->ssl, plain, sizeof plain)) > 0)
    ae__connection_plain(c, (ae_str){plain, (size_t)len});
  int why = SSL_get_error(tls->ssl, len);
  if (why == SSL_ERROR_ZERO_RETURN) tls->ended = true;
  return why == SSL_ERROR_WANT_READ;
}

bool ae__tls_open(ae__connection *c, ae_str bytes) {
  ae__tls *tls = c->tls;
  tls->spoken = true;
  ERR_clear_error();
  for (bool more = true; more && bytes.len > 0;) {
    size_t len = bytes.len < RECORD ? bytes.len : RECORD;
    if (BIO_write(tls->in, bytes.ptr, (int)len) != (int)len) return false;
    bytes.ptr += len;
    bytes.len -= len;
    more = read_plain(c);
    collect(tls);
    if (!more && !tls->ended) return false;
  }
  ae__connection_mark(c);
  if (tls->ended) ae__connection_eof(c);
  return true;
}

bool ae__tls_seal(ae__connection *c) {
  ae__tls *tls = c->tls;
  size_t left = SSL_is_init_finished(tls->ssl) ? c->out.len : 0;
  const char *at = c->out.ptr;
  ERR_clear_error();
  while (left > 0) {
    size_t taken;
    if (SSL_write_ex(tls->ssl, at, left < RECORD ? left : RECORD, &taken) != 1)
      return false;
    collect(tls);
    at += taken;
    left -= taken;
  }
  if (at != c->out.ptr) ae_buf_reset(&c->out);
  collect(tls);
  return true;
}

ae_buf *ae__tls_sealed(ae__connection *c) {
  return &c->tls->sealed;
}

void ae__tls_bye(ae__connection *c) {
  ERR_clear_error();
  SSL_shutdown(c->tls->ssl);
  collect(c->tls);
}
