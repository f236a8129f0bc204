/* What the node serves, as an OpenAPI 3.1 document: an operation for each
 * command of each aggregate, with the schema that its module gives, and what is
 * the same for every app from openapi.json. */
#ifndef AE_DOOR_HTTP_OPENAPI_H
#define AE_DOOR_HTTP_OPENAPI_H

#include "door/http/auth.h"

/* Appends the document: of namespaces that the grant sees, and nothing that
 * tells of others. Reads the modules' files for their comments. */
void ae__openapi_write(ae_node *node, const ae_grant *grant, ae_buf *out);

/* openapi.json, made part of the program by scripts/embed. */
extern const char ae__openapi_json[];
extern const size_t ae__openapi_json_len;

#endif
