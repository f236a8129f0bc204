// What a login may do, with NATS's own client from npm: node nats_try.mjs TOOLS
// URL USER PASSWORD, a line of JSON for each try on stdin: {"do":"subscribe" |
// "publish" | "request", "subject":…, "body":…}, or {"do":"await","path":…}: goes
// on once there is that file. Prints for each "refused", "ok"
// or the answer as a line of JSON. Then, for each subscription, what came on it.
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";

const [tools, url, user, pass] = process.argv.slice(2);
const require = createRequire(tools + "/");
const { connect, StringCodec } = require("nats");
const text = StringCodec();
const connection = await connect({ servers: url, user, pass });
let refused = 0;
(async () => {
  for await (const status of connection.status()) if (status.type === "error") refused++;
})();
// The server's word on what was sent before comes before its answer to this.
async function settle() {
  await connection.flush();
  await new Promise((done) => setTimeout(done, 0));
}
const heard = [];
for await (const line of createInterface({ input: process.stdin })) {
  const { do: what, subject, body, path } = JSON.parse(line);
  const before = refused;
  const sent = text.encode(body === undefined ? "" : JSON.stringify(body));
  let answer = null;
  if (what === "subscribe") {
    const count = heard.push({ subject, messages: 0 }) - 1;
    connection.subscribe(subject, { callback: (error) => { if (!error) heard[count].messages++; } });
  } else if (what === "publish") {
    connection.publish(subject, sent);
  } else if (what === "await") {
    while (!existsSync(path)) await new Promise((done) => setTimeout(done, 5));
  } else {
    const inbox = `_INBOX.try.${Math.random().toString(36).slice(2)}`;
    const came = new Promise((done) => {
      connection.subscribe(inbox, { max: 1, callback: (error, message) => { if (!error) done(message); } });
    });
    connection.publish(subject, sent, { reply: inbox });
    await settle();
    if (refused === before) answer = JSON.parse(text.decode((await came).data) || "{}");
  }
  await settle();
  console.log(JSON.stringify(refused > before ? "refused" : answer ?? "ok"));
}
await settle();
for (const one of heard) console.log(JSON.stringify(one));
await connection.close();
