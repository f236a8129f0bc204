// Listens over NATS as any client would, with NATS's own client from npm:
// node nats_listen.mjs TOOLS URL SUBJECT. Prints "listening", then each message
// as a line of JSON. Goes on until it is killed.
import { createRequire } from "node:module";

const [tools, url, subject] = process.argv.slice(2);
const require = createRequire(tools + "/");
const { connect } = require("nats");
const { decode } = require("@msgpack/msgpack");
const connection = await connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
const subscription = connection.subscribe(subject);
await connection.flush();
console.log("listening");
for await (const message of subscription) {
  const headers = {};
  for (const [name, values] of message.headers ?? []) headers[name] = values[0];
  console.log(JSON.stringify({ subject: message.subject, headers, document: decode(message.data) }));
}
