// Runs a script in a page of a real browser, over the DevTools protocol:
//   node browser.mjs PAGE-URL SCRIPT-FILE
// What the script says with say(text) comes out as lines; its end is its
// value's, as JSON. The exit status is 0 where it did not throw.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [url, file] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "browser."));
const browser = spawn(
  process.env.BROWSER ?? "chromium-headless-shell",
  [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--no-proxy-server",
    `--user-data-dir=${folder}`, "--remote-debugging-pipe", "about:blank",
  ],
  {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    env: { ...process.env, HOME: folder },
  },
);
const ended = new Promise((resolve) => browser.on("exit", resolve));

let last = 0;
const waiting = new Map();
const told = [];
let heard = "";

function call(method, params = {}, sessionId = undefined) {
  const id = ++last;
  browser.stdio[3].write(
    JSON.stringify({ id, method, params, sessionId }) + "\0",
  );
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

browser.stdio[4].setEncoding("utf8").on("data", (piece) => {
  heard += piece;
  const parts = heard.split("\0");
  heard = parts.pop();
  for (const part of parts) {
    const message = JSON.parse(part);
    if (message.id) {
      const { resolve, reject } = waiting.get(message.id);
      waiting.delete(message.id);
      if (message.error) reject(new Error(message.error.message));
      else resolve(message.result);
    } else {
      for (const one of told) one(message);
    }
  }
});

async function run() {
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await call("Target.attachToTarget", {
    targetId,
    flatten: true,
  });
  await call("Page.enable", {}, sessionId);
  await call("Runtime.enable", {}, sessionId);
  await call("Runtime.addBinding", { name: "say" }, sessionId);
  const loaded = new Promise((resolve) =>
    told.push((message) => {
      if (message.method === "Page.loadEventFired") resolve();
      if (message.method === "Runtime.bindingCalled")
        process.stdout.write(message.params.payload + "\n");
    }),
  );
  const { errorText } = await call("Page.navigate", { url }, sessionId);
  if (errorText) throw new Error(`${url}: ${errorText}`);
  await loaded;
  const { result, exceptionDetails } = await call(
    "Runtime.evaluate",
    {
      expression: `(async () => {${readFileSync(file, "utf8")}})()`,
      awaitPromise: true,
      returnByValue: true,
    },
    sessionId,
  );
  if (exceptionDetails)
    throw new Error(exceptionDetails.exception?.description ?? "it threw");
  process.stdout.write(JSON.stringify(result.value ?? null) + "\n");
}

let status = 0;
try {
  await run();
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  status = 1;
}
call("Browser.close").catch(() => {});
await ended;
rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
process.exit(status);
