// Compiles a list of standard JSON inputs on stdin with the solc of the working directory's
// node_modules.
const path = require("path");
const solc = require(path.join(process.cwd(), "node_modules", "solc"));
const inputs = JSON.parse(require("fs").readFileSync(0, "utf8"));
const outputs = inputs.map((input) => JSON.parse(solc.compile(JSON.stringify(input))));
process.stdout.write(JSON.stringify({ version: solc.version(), outputs }));
