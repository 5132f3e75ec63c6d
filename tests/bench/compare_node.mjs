// One measurement of llama.cpp as the npm package node-llama-cpp ships it: JSON as compare.py wants it.
//     node compare_node.mjs FOLDER MODEL THREADS PROMPT GEN
// FOLDER holds node_modules with the package. The prefill gives logits of its last token, decoding picks the likeliest;
// a round before the one that counts warms up.
import path from "node:path";
import {pathToFileURL} from "node:url";

const [folder, modelPath, threads, nPrompt, nGen] = process.argv.slice(2).map((a, i) => (i < 2 ? a : Number(a)));
const entry = path.resolve(folder, "node_modules", "node-llama-cpp", "dist", "index.js");
const {getLlama} = await import(pathToFileURL(entry).href);

const llama = await getLlama({gpu: false, build: "never", progressLogs: false, maxThreads: threads});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({
  contextSize: Math.max(nPrompt, nGen) + 16,
  batchSize: 512,
  threads: {ideal: threads, min: threads}
});
const sequence = context.getSequence();
const tokens = Array.from({length: nPrompt}, (_, i) => 100 + (i * 7919) % 20000);

async function decode(n) {
  await sequence.clearHistory();
  const made = sequence.evaluate([100], {temperature: 0, yieldEogToken: true});
  const start = performance.now();
  for (let i = 0; i < n; ++i) await made.next();
  const seconds = (performance.now() - start) / 1000;
  await made.return();
  return n / seconds;
}

async function prefill() {
  await sequence.clearHistory();
  const start = performance.now();
  const made = sequence.evaluate(tokens, {temperature: 0, yieldEogToken: true});
  await made.next();
  const seconds = (performance.now() - start) / 1000;
  await made.return();
  return nPrompt / seconds;
}

const out = {prefill_tps: null, decode_tps: null};
for (let round = 0; round < 2; ++round) {
  if (nPrompt > 0) out.prefill_tps = await prefill();
  if (nGen > 0) out.decode_tps = await decode(round === 0 ? 4 : nGen);
}
console.log(JSON.stringify(out));
process.exit(0);
