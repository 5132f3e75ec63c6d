// One measurement of llama.cpp as the npm package node-llama-cpp ships it: JSON as compare.py wants it.
//     node compare_node.mjs FOLDER MODEL THREADS PROMPT GEN DEPTH SEQS none|vulkan|cuda
// FOLDER holds node_modules with the package. The prefill gives logits of its last token, decoding picks the likeliest;
// both behind DEPTH tokens of context, with flash attention; SEQS sequences decode side by side. A round before the one
// that counts warms up.
import path from "node:path";
import {pathToFileURL} from "node:url";

const [folder, modelPath, ...rest] = process.argv.slice(2);
const [threads, nPrompt, nGen, depth, seqs] = rest.map(Number);
const gpu = rest[5] === "none" ? false : rest[5];
const entry = path.resolve(folder, "node_modules", "node-llama-cpp", "dist", "index.js");
const {getLlama} = await import(pathToFileURL(entry).href);

const llama = await getLlama({gpu, build: "never", progressLogs: false, maxThreads: threads});
const model = await llama.loadModel({modelPath, gpuLayers: gpu ? "max" : 0});
const context = await model.createContext({
  contextSize: depth + Math.max(nPrompt, nGen) + 16,
  sequences: seqs,
  batchSize: 512,
  flashAttention: true,
  threads: {ideal: threads, min: threads}
});
const sequences = Array.from({length: seqs}, () => context.getSequence());
const greedy = {temperature: 0, yieldEogToken: true};
const tokens = (n, first) => Array.from({length: n}, (_, i) => 100 + ((first + i) * 7919) % 400);

// The context in front of what is measured, filled once and cut back.
async function fill(sequence) {
  const end = sequence.nextTokenIndex;
  if (end > depth) await sequence.eraseContextTokenRanges([{start: depth, end}]);
  if (end < depth) await sequence.evaluateWithoutGeneratingNewTokens(tokens(depth - end, end));
}

async function decode(n) {
  const made = [];
  for (const sequence of sequences) {
    await fill(sequence);
    made.push(sequence.evaluate([100], greedy));
  }
  const start = performance.now();
  await Promise.all(made.map(async (m) => {
    for (let i = 0; i < n; ++i) await m.next();
  }));
  const seconds = (performance.now() - start) / 1000;
  for (const m of made) await m.return();
  return (seqs * n) / seconds;
}

async function prefill() {
  await fill(sequences[0]);
  const start = performance.now();
  const made = sequences[0].evaluate(tokens(nPrompt, depth), greedy);
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
