// Many connections that are kept: node crowd.mjs PORT COUNT. Each asks once and
// stays. Says "here", how many were answered, and how many were lost until then;
// ends when killed.
import { connect } from "node:net";
const [port, count] = process.argv.slice(2).map(Number);
let left = count, answered = 0, lost = 0;
for (let i = 0; i < count; i++) {
  const socket = connect(port, "127.0.0.1");
  let got = "";
  socket.on("data", (bytes) => {
    got += bytes;
    const end = got.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = Number(/Content-Length: (\d+)/.exec(got)[1]);
    if (got.length < end + 4 + length) return;
    if (got.startsWith("HTTP/1.1 200 ")) answered++;
    if (--left == 0) console.log(`here ${answered} ${lost}`);
  });
  socket.on("error", () => {});
  socket.on("close", () => lost++);
  socket.write("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
}
