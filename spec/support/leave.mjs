// Sends commands and is gone in the midst of it: node leave.mjs PORT SEED.
import { connect } from "node:net";
const [port, seed] = process.argv.slice(2).map(Number);
const line = JSON.stringify({
  actor: "cell/counter/leaver",
  command: "add",
  data: { n: seed },
});
const lines = (line + "\n").repeat(200) + line.slice(0, seed);
const socket = connect(port, "127.0.0.1", () => {
  const head =
    "POST /v1/commands HTTP/1.1\r\nHost: 127.0.0.1\r\n" +
    "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
  const chunk = lines.length.toString(16) + "\r\n" + lines + "\r\n";
  socket.write((head + chunk).slice(0, 200 * seed + 300), () => {
    if (seed % 2) socket.resetAndDestroy();
    else socket.once("data", () => socket.destroy());
  });
});
socket.on("error", () => {});
