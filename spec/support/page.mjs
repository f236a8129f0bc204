// A web page of some other origin; says where it is.
import { createServer } from "node:http";
const server = createServer((request, response) => {
  response.writeHead(200, { "Content-Type": "text/html" });
  response.end("<!doctype html><title>another origin</title>");
});
server.listen(0, "127.0.0.1", () =>
  console.log(`http://127.0.0.1:${server.address().port}/`),
);
