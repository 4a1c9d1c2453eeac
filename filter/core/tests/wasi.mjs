// Runs a WebAssembly module of tests in Node.js: cargo calls this as the runner of the target wasm32-wasip1.
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [module, ...options] = process.argv.slice(2);
const wasi = new WASI({ version: "preview1", args: [module, ...options], env: process.env });
const imports = wasi.getImportObject();
// Called directly, the functions of Node.js 20 crash after the module's memory has grown.
for (const [name, native] of Object.entries(imports.wasi_snapshot_preview1)) {
  imports.wasi_snapshot_preview1[name] = (...parameters) => native(...parameters);
}
const { instance } = await WebAssembly.instantiate(await readFile(module), imports);
process.exitCode = wasi.start(instance);
