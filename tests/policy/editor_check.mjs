// The policy's JSON Schema in a real editor back end: policies that work show no mark, a slip shows one.
// Usage: node editor_check.mjs PATH/OF/yaml-language-server SCHEMA.json POLICY.yaml...
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [server, schema, ...policies] = process.argv.slice(2);
if (!policies.length) {
  console.error("usage: node editor_check.mjs SERVER SCHEMA POLICY...");
  process.exit(2);
}

const child = spawn(process.execPath, [server, "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
const answers = new Map(); // request id or document -> who waits for it
let unread = Buffer.alloc(0);

function send(message) {
  const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }));
  child.stdin.write(Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body]));
}

function awaited(key) {
  return new Promise((resolve) => answers.set(key, resolve));
}

function take(message) {
  if (message.method === "textDocument/publishDiagnostics") answers.get(message.params.uri)?.(message.params.diagnostics);
  else if (message.method && message.id !== undefined) {
    // The server asks for its settings: validate, and fetch no catalogue of schemas.
    const items = message.params?.items ?? [];
    const settings = items.map((item) => (item.section === "yaml" ? { validate: true, schemaStore: { enable: false } } : {}));
    send({ id: message.id, result: items.length ? settings : null });
  } else answers.get(message.id)?.(message.result);
}

child.stdout.on("data", (chunk) => {
  unread = Buffer.concat([unread, chunk]);
  for (;;) {
    const end = unread.indexOf("\r\n\r\n");
    const length = Number(/Content-Length: (\d+)/.exec(unread.subarray(0, end).toString())?.[1]);
    if (end < 0 || unread.length < end + 4 + length) return;
    take(JSON.parse(unread.subarray(end + 4, end + 4 + length).toString()));
    unread = unread.subarray(end + 4 + length);
  }
});

let opened = 0;
async function marks(text) {
  const uri = `file:///policy-${++opened}.yaml`;
  const seen = awaited(uri);
  const modeline = `# yaml-language-server: $schema=${pathToFileURL(schema)}\n`;
  send({ method: "textDocument/didOpen", params: { textDocument: { uri, languageId: "yaml", version: 1, text: modeline + text } } });
  return (await seen).map((mark) => `${mark.range.start.line}: ${mark.message}`);
}

const patience = setTimeout(() => fail("the language server did not answer within 60 seconds"), 60_000);
function fail(why) {
  console.error(why);
  child.kill();
  process.exit(1);
}

async function expect(what, text, count, word = "") {
  const found = await marks(text);
  if (found.length !== count || !found.every((mark) => mark.includes(word))) fail(`${what}: expected ${count}, found ${JSON.stringify(found)}`);
  console.log(`${what}: ${count === 0 ? "no mark" : found[0]}`);
}

const ready = awaited(1);
const capabilities = { textDocument: { publishDiagnostics: {} }, workspace: { configuration: true } };
send({ id: 1, method: "initialize", params: { processId: process.pid, rootUri: null, capabilities } });
await ready;
send({ method: "initialized", params: {} });
send({ method: "workspace/didChangeConfiguration", params: { settings: { yaml: { validate: true, schemaStore: { enable: false } } } } });

for (const policy of policies) await expect(policy, readFileSync(policy, "utf8"), 0);
const first = readFileSync(policies.find((policy) => policy.endsWith("quickstart.yaml")), "utf8");
await expect("mode: off", `${first}mode: off\n`, 0);
await expect("mode: 5%", `${first}mode: 5%\n`, 0);
await expect("a misspelt key", `${first}lisen: {}\n`, 1, "lisen");
await expect("a misspelt mode", `${first}mode: of\n`, 1);
await expect("a misspelt rule", `${first}    rules: {repaly: {window: 1h}}\n`, 1, "repaly");
await expect("a misspelt provider", first.replace("provider: telegram", "provider: telegarm"), 1);
await expect("a signature without its scheme, which the preset gives", `${first}    rules: {signature: {mode: report}}\n`, 0);
await expect("a misspelt key of a signature", `${first}    rules: {signature: {hedaer: X}}\n`, 1, "hedaer");
clearTimeout(patience);
child.kill();
