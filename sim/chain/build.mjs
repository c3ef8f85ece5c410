// Compiles contracts/*.sol into artifacts/*.json with the npm packages pinned in package.json.
//
//   npm ci && npm run build            writes artifacts/
//   npm ci && npm run check            exits 1 when an artifact differs from what the sources give
//   node build.mjs --out DIR           writes elsewhere
//
// An artifact holds everything that a user without a compiler needs, and the SHA-256 of every source in its import
// closure, so that a test without Node notices a source that was edited and not rebuilt.

import {createHash} from "node:crypto";
import {existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(join(here, "package.json"));
const solc = require("solc");

// Paris and Shanghai fail with OpenZeppelin 5.7 (it uses MCOPY and transient storage).
const SETTINGS = {
  optimizer: {enabled: true, runs: 200},
  evmVersion: "prague",
  viaIR: false,
  metadata: {bytecodeHash: "none", appendCBOR: false},
};

const sha256 = (text) => createHash("sha256").update(text).digest("hex");

function libraryPath(name) {
  return join(dirname(require.resolve("@openzeppelin/contracts/package.json")), name.replace("@openzeppelin/contracts/", ""));
}

function compile(names) {
  const read = new Map(names.map((name) => [name, readFileSync(join(here, "contracts", name), "utf8")]));
  const findImport = (path) => {
    if (!path.startsWith("@openzeppelin/contracts/")) return {error: `import of unknown package: ${path}`};
    const contents = readFileSync(libraryPath(path), "utf8");
    read.set(path, contents);
    return {contents};
  };
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(names.map((name) => [name, {content: read.get(name)}])),
    settings: {...SETTINGS, outputSelection: {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "metadata"]}}},
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), {import: findImport}));
  // Warnings inside OpenZeppelin (a future keyword) are not ours to fix; errors and our own warnings are.
  const problems = (output.errors ?? []).filter(
    (e) => e.severity === "error" || names.includes(e.sourceLocation?.file),
  );
  if (problems.length > 0) {
    console.error(problems.map((e) => e.formattedMessage).join("\n"));
    process.exit(1);
  }
  return {output, read};
}

function artifact(name, output, read) {
  const contractName = name.replace(/\.sol$/, "");
  const contract = output.contracts[name][contractName];
  const closure = Object.keys(JSON.parse(contract.metadata).sources).sort();
  return {
    contractName,
    compiler: solc.version(),
    settings: SETTINGS,
    sources: Object.fromEntries(closure.map((path) => [path, sha256(read.get(path))])),
    abi: contract.abi,
    bytecode: `0x${contract.evm.bytecode.object}`,
    deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
  };
}

function main(argv) {
  const out = argv.includes("--out") ? argv[argv.indexOf("--out") + 1] : join(here, "artifacts");
  const names = readdirSync(join(here, "contracts")).filter((n) => n.endsWith(".sol")).sort();
  const {output, read} = compile(names);
  let stale = 0;
  mkdirSync(out, {recursive: true});
  for (const name of names) {
    const path = join(out, name.replace(/\.sol$/, ".json"));
    const text = `${JSON.stringify(artifact(name, output, read), null, 1)}\n`;
    if (argv.includes("--check")) {
      const same = existsSync(path) && readFileSync(path, "utf8") === text;
      console.log(`${same ? "same " : "STALE"} ${path}`);
      stale += same ? 0 : 1;
    } else {
      writeFileSync(path, text);
      console.log(`wrote ${path}`);
    }
  }
  process.exit(stale > 0 ? 1 : 0);
}

main(process.argv.slice(2));
