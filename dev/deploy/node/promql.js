// Parses PromQL by Prometheus' own grammar. Reads a JSON list of expressions, writes for each what is wrong with it, or the
// metrics and the label names that it selects by.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const packages = createRequire(`${process.argv[2]}/package.json`);
const { parser } = packages("@prometheus-io/lezer-promql");

function read(expression) {
  const found = { error: null, metrics: [], labels: [] };
  parser.parse(expression).iterate({
    enter(node) {
      const text = expression.slice(node.from, node.to);
      if (node.type.isError && found.error === null) {
        found.error = `at ${node.from}: ${expression.slice(0, node.from)} >>> ${expression.slice(node.from)}`;
      }
      if (node.name === "Identifier" && node.node.parent.name === "VectorSelector") found.metrics.push(text);
      if (node.name === "LabelName") found.labels.push(text);
    },
  });
  return found;
}

const expressions = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(expressions.map(read)));
