// Follows server-sent events with fetch, and comes back behind the last one
// when the connection ends: node follow.mjs PORT PATH [CUT]. With CUT it ends
// the connection itself behind so many events. Prints a line for each.
const [port, path, cut] = process.argv.slice(2);
let last;

async function follow() {
  const control = new AbortController();
  const headers = { Accept: "text/event-stream" };
  if (last) headers["Last-Event-ID"] = last;
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    headers,
    signal: control.signal,
  });
  if (response.status !== 200) throw new Error(`status ${response.status}`);
  let text = "";
  let came = 0;
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const blocks = (text + piece).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(
        block.split("\n").map((line) => {
          const colon = line.indexOf(": ");
          return [line.slice(0, colon), line.slice(colon + 2)];
        }),
      );
      if (fields.data) {
        last = fields.id;
        console.log(`${fields.id} ${fields.event} ${JSON.parse(fields.data).id}`);
        if (++came == cut) return control.abort();
      }
    }
  }
}

for (;;) {
  try {
    await follow();
  } catch (error) {
    if (/^status 4/.test(error.message)) throw error;
  }
  await new Promise((resolve) => setTimeout(resolve, 5));
}
