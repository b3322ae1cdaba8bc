// Holds documents against the Prometheus operator's own types: reads a JSON list, writes what is wrong with each.
// The validators made of the operator's types check values, and the compiler refuses fields that aren't there.
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = process.argv[2];
const packages = createRequire(`${folder}/package.json`);
const models = "@kubernetes-models/prometheus-operator";

function values(document) {
  const { [document.kind]: Model } = packages(`${models}/monitoring.coreos.com/v1/${document.kind}`);
  try {
    new Model(document).validate();
    return [];
  } catch (error) {
    return [String(error.message)];
  }
}

function fields(document) {
  const compiler = packages("typescript");
  const place = mkdtempSync(join(tmpdir(), "silt-operator-"));
  try {
    symlinkSync(join(folder, "node_modules"), join(place, "node_modules"));
    const program = join(place, "document.mts");
    const type = `import type { I${document.kind} } from "${models}/monitoring.coreos.com/v1/${document.kind}";\n`;
    writeFileSync(program, `${type}export const document: I${document.kind} = ${JSON.stringify(document)};\n`);
    const options = {
      strict: true, noEmit: true, skipLibCheck: true, types: [],
      module: compiler.ModuleKind.NodeNext, moduleResolution: compiler.ModuleResolutionKind.NodeNext,
    };
    const found = compiler.getPreEmitDiagnostics(compiler.createProgram([program], options));
    return found.map((one) => compiler.flattenDiagnosticMessageText(one.messageText, "\n"));
  } finally {
    rmSync(place, { recursive: true });
  }
}

const documents = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(documents.map((document) => [...values(document), ...fields(document)])));
