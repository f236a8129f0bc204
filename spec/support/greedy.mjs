// Sends commands and never reads an outcome: node greedy.mjs PORT MEGABYTES.
// Says "stuck" and how much was taken when nothing goes on for a second.
import { connect } from "node:net";
const [port, megabytes] = process.argv.slice(2).map(Number);
const line = JSON.stringify({
  actor: "cell/counter/greedy",
  command: "add",
  data: { n: 1, text: "x".repeat(400) },
});
const lines = Buffer.from((line + "\n").repeat(128));
const socket = connect(port, "127.0.0.1", () => {
  socket.pause();
  socket.write(
    "POST /v1/commands HTTP/1.1\r\nHost: 127.0.0.1\r\n" +
      "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
  );
  let sent = 0;
  let timer;
  const more = () => {
    clearTimeout(timer);
    timer = setTimeout(() => console.log(`${sent} bytes, stuck`), 1000);
    if (sent > megabytes * 1e6) return;
    sent += lines.length;
    const chunk = Buffer.concat([
      Buffer.from(lines.length.toString(16) + "\r\n"),
      lines,
      Buffer.from("\r\n"),
    ]);
    socket.write(chunk, more);
  };
  more();
});
