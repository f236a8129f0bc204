// Listens without reading until SIGUSR2, then reads until so many events were
// told or dropped: node slow.mjs PORT PATH TOTAL. Says how many of each.
import { connect } from "node:net";
const [port, path, total] = process.argv.slice(2);
let text = "";
let head = true;
let came = 0;
let dropped = 0;
const socket = connect(Number(port), "127.0.0.1", () =>
  // HTTP/1.0: the body is not chunked.
  socket.write(`GET ${path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n`),
);
process.on("SIGUSR2", () => socket.resume());
socket.setEncoding("utf8").on("data", (piece) => {
  text += piece;
  if (head) {
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return;
    text = text.slice(end + 4);
    head = false;
    socket.pause();
    console.log("listening");
    return;
  }
  const lines = text.split("\n");
  text = lines.pop();
  for (const line of lines) {
    const one = JSON.parse(line);
    if (one.dropped) dropped += one.dropped;
    else came++;
  }
  if (came + dropped >= Number(total)) {
    console.log(`${came} events, ${dropped} dropped`);
    process.exit();
  }
});
setInterval(() => {}, 60000); // a socket that is not read keeps nobody up
