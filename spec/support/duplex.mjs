// Sends a command and waits for its outcome before it sends the next, all in
// one request: node duplex.mjs PORT COUNT. Says how many outcomes came.
const [port, count] = process.argv.slice(2).map(Number);
let send, outcome;
const body = new ReadableStream({ start: (controller) => (send = controller) });
const line = (n) =>
  send.enqueue(
    new TextEncoder().encode(
      JSON.stringify({
        actor: "cell/counter/duplex",
        command: "add",
        data: { n },
      }) + "\n",
    ),
  );
line(1);
const response = await fetch(`http://127.0.0.1:${port}/v1/commands`, {
  method: "POST",
  headers: { "Content-Type": "application/x-ndjson" },
  body,
  duplex: "half",
});
let came = 0;
let rest = "";
for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + piece).split("\n");
  rest = lines.pop();
  for (const text of lines) {
    outcome = JSON.parse(text);
    came++;
    if (outcome.line !== came || outcome.version !== came)
      throw new Error(`outcome ${came} is ${text}`);
    if (came < count) line(came + 1);
    else send.close();
  }
}
console.log(came);
