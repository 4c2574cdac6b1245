// Compiles the standard JSON input of stdin with the solc of the working directory's node_modules.
const path = require("path");
const solc = require(path.join(process.cwd(), "node_modules", "solc"));
const input = require("fs").readFileSync(0, "utf8");
process.stdout.write(JSON.stringify({ version: solc.version(), output: JSON.parse(solc.compile(input)) }));
