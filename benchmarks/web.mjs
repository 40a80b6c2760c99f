// Runs an exported model in onnxruntime-web's WebAssembly, one thread: seconds a call, and the mean of the maps.
//
//     npm install onnxruntime-web && node benchmarks/web.mjs nuclei.onnx
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(process.argv[2]), { executionProviders: ["wasm"] });
for (const side of [256, 512]) {
  const pixels = Float32Array.from({ length: side * side * 3 }, (_, i) => ((i * 7919) % 1009) / 1009);
  const image = new ort.Tensor("float32", pixels, [1, side, side, 3]);
  await session.run({ image });
  const start = performance.now();
  const { maps } = await session.run({ image });
  const seconds = ((performance.now() - start) / 1000).toFixed(2);
  const mean = maps.data.reduce((sum, value) => sum + value, 0) / maps.data.length;
  console.log(`${side} x ${side}: ${seconds} s, maps (${maps.dims.join(", ")}), mean ${mean.toFixed(6)}`);
}
