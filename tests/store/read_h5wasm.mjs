// Digests of all result datasets of a store, read by HDF5 in JavaScript (h5wasm), for tests/store/test_other_readers.py.
// In a folder where "npm install h5wasm" was run: node --input-type=module - STORE.h5 < read_h5wasm.mjs
import { createHash } from "node:crypto";
import h5wasm from "h5wasm/node";

await h5wasm.ready;
const file = new h5wasm.File(process.argv[2], "r");
const digests = { "network-digest": file.attrs["network-digest"].value, provenance: file.attrs["provenance"].value };
for (const group of ["lines", "breakpoints", "flips"]) {
  for (const name of file.get(group).keys()) {
    const values = file.get(`${group}/${name}`).value;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    digests[`/${group}/${name}`] = createHash("sha256").update(bytes).digest("hex");
  }
}
console.log(JSON.stringify(digests));
