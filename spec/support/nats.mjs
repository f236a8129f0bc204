// Talks to a node over NATS as any client would, with NATS's own client from
// npm: node nats.mjs TOOLS URL, a request a line on stdin:
// {"subject":…,"body":…,"msgpack":true}. Prints each answer as a line of JSON.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [tools, url] = process.argv.slice(2);
const require = createRequire(tools + "/");
const { connect, headers, StringCodec } = require("nats");
const { encode, decode } = require("@msgpack/msgpack");
const text = StringCodec();
const connection = await connect({ servers: url });
for await (const line of createInterface({ input: process.stdin })) {
  const { subject, body, raw, msgpack } = JSON.parse(line);
  const with_headers = headers();
  if (msgpack) with_headers.set("Content-Type", "application/msgpack");
  const sent = raw !== undefined ? text.encode(raw) : msgpack ? encode(body) : text.encode(JSON.stringify(body));
  try {
    const answer = await connection.request(subject, sent, {
      timeout: 20000,
      headers: with_headers,
    });
    const type = answer.headers?.get("Content-Type");
    const document = type === "application/msgpack" ? decode(answer.data) : JSON.parse(text.decode(answer.data));
    console.log(JSON.stringify({ type, document }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
await connection.close();
