// Sends the start of a long line on many connections at once, then its end and
// a command: node longlines.mjs PORT COUNT MEGABYTES. Says "begun" when the
// starts are sent; ends the lines at SIGUSR2, and says what became of them.
import { connect } from "node:net";
const [port, count, megabytes] = process.argv.slice(2).map(Number);
const start = "x".repeat(megabytes * 1e6);
const command =
  '{"actor":"cell/counter/long","command":"add","data":{"n":1}}\n';
const chunk = (text) => `${text.length.toString(16)}\r\n${text}\r\n`;
const outcomes = {};
const sockets = [];
let begun = 0;
let done = 0;

function note(text) {
  for (const line of text.split("\r\n")) {
    if (!line.startsWith("{")) continue;
    for (const one of line.trim().split("\n")) {
      const { status, error } = JSON.parse(one);
      const what = error ? error.code : status;
      outcomes[what] = (outcomes[what] ?? 0) + 1;
    }
  }
}

for (let i = 0; i < count; i++) {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.write(
    "POST /v1/commands HTTP/1.1\r\nHost: 127.0.0.1\r\n" +
      "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n" +
      "Connection: close\r\n\r\n",
  );
  socket.write(chunk(start), () => ++begun === count && console.log("begun"));
  socket.setEncoding("utf8").on("data", (piece) => (text += piece));
  socket.on("end", () => {
    note(text);
    if (++done === count) console.log(JSON.stringify(outcomes));
  });
  sockets.push(socket);
}
process.on("SIGUSR2", () => {
  for (const socket of sockets) socket.write(chunk("\n" + command) + "0\r\n\r\n");
});
