// Asks and never reads the answer: node stalled.mjs PORT COUNT PATH ACCEPT, on
// so many connections. Says "asked" when all have asked; ends when killed.
import { connect } from "node:net";
const [port, count, path, accept] = process.argv.slice(2);
let asked = 0;
for (let i = 0; i < Number(count); i++) {
  const socket = connect(Number(port), "127.0.0.1", () => {
    socket.pause();
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: ${accept}\r\n\r\n`,
      () => ++asked == Number(count) && console.log("asked"),
    );
  });
  socket.on("error", () => {});
}
setInterval(() => {}, 60000); // sockets that are not read keep nobody up
