// TCP proxies that do harm on purpose: node nats_proxy.mjs SEED TARGET-PORT…
// Prints the port of each, then the port where it is told what to do, a line
// each, answered with a line:
//   eat CHANCE       answers to appends are lost with this chance (0: none is)
//   stall N…, flow N…  nothing goes through these (numbers from 1), and goes on:
//                    what TCP makes of a network that is cut and healed
//   eaten            how many answers were lost
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";

const [seed, ...targets] = process.argv.slice(2).map(Number);
let state = seed >>> 0;
let chance = 0;
let eaten = 0;

// mulberry32
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

// JetStream's answer to a publish: {"stream":"…","seq":N}, and nothing else.
const is_answer = (body) => body.includes('"seq":') && !body.includes('"type":');

// What the server says, without the answers that are lost. Whole messages only.
class Eater {
  rest = Buffer.alloc(0);
  take(bytes) {
    this.rest = this.rest.length ? Buffer.concat([this.rest, bytes]) : bytes;
    const out = [];
    let at = 0;
    for (;;) {
      const end = this.rest.indexOf("\r\n", at);
      if (end < 0) break;
      let next = end + 2;
      const head = this.rest.toString("latin1", at, Math.min(end, at + 5));
      if (head.startsWith("MSG ") || head.startsWith("HMSG ")) {
        const length = Number(this.rest.toString("latin1", at, end).split(" ").pop());
        next += length + 2;
        if (this.rest.length < next) break;
        const body = this.rest.toString("latin1", end + 2, Math.min(next, end + 300));
        if (chance > 0 && head.startsWith("MSG ") && is_answer(body) && random() < chance) {
          eaten++;
          at = next;
          continue;
        }
      }
      out.push(this.rest.subarray(at, next));
      at = next;
    }
    this.rest = this.rest.subarray(at);
    return Buffer.concat(out);
  }
}

// Bytes of one direction; `stalled()` keeps them where they are.
function pipe(from, to, link, change) {
  const go = () => {
    if (link.stalled) return;
    for (let bytes; (bytes = from.read()) !== null; ) {
      const out = change ? change(bytes) : bytes;
      if (out.length && !to.write(out)) {
        to.once("drain", go);
        return;
      }
    }
    if (from.readableEnded) to.end();
  };
  from.on("readable", go);
  from.on("end", () => link.stalled || to.end());
  return go;
}

const links = targets.map((target) => ({ target, stalled: false, connections: new Set() }));
for (const link of links) {
  link.server = createServer({ allowHalfOpen: false }, (client) => {
    const server = connect(link.target, "127.0.0.1");
    const eater = new Eater();
    client.setNoDelay(true);
    server.setNoDelay(true);
    const there = pipe(client, server, link);
    const back = pipe(server, client, link, (bytes) => eater.take(bytes));
    const one = { go: () => (there(), back()), over: false };
    link.connections.add(one);
    // An end, too, is only heard of through a network that is there.
    const over = () => {
      one.over = true;
      if (link.stalled) return;
      client.destroy();
      server.destroy();
      link.connections.delete(one);
    };
    one.end = over;
    for (const socket of [client, server]) {
      socket.on("error", () => {});
      socket.on("close", over);
    }
  });
  await new Promise((done) => link.server.listen(0, "127.0.0.1", done));
}

function told(line) {
  const [what, ...numbers] = line.trim().split(" ");
  if (what === "eaten") return String(eaten);
  if (what === "eat") chance = Number(numbers[0]);
  for (const number of what === "eat" ? [] : numbers) {
    const link = links[Number(number) - 1];
    link.stalled = what === "stall";
    if (link.stalled) continue;
    for (const one of [...link.connections]) {
      one.go();
      if (one.over) one.end();
    }
  }
  return "ok";
}

const control = createServer((socket) => {
  socket.on("error", () => {});
  createInterface({ input: socket }).on("line", (line) => socket.write(told(line) + "\n"));
});
await new Promise((done) => control.listen(0, "127.0.0.1", done));
console.log([...links.map((link) => link.server.address().port), control.address().port].join(" "));
