// Compiles contracts with the npm packages pinned in package.json: those that are deployed, contracts/*.sol into
// artifacts/, and in a checkout the ones that tests hold formulas against, tests/differential/contracts likewise.
//
//   npm ci && npm run build            writes the artifacts
//   npm ci && npm run check            exits 1 when an artifact differs from what the sources give
//
// An artifact holds everything that a user without a compiler needs, and the SHA-256 of every source in its import
// closure, so that a test without Node notices a source that was edited and not rebuilt. Sources in folders below
// contracts/ are parts of others and have no artifact.

import {createHash} from "node:crypto";
import {existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {basename, dirname, join} from "node:path";
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

// One compiler run: sources are named by their path from `root`.
const TARGETS = [
  {root: join(here, "contracts"), folder: "", out: join(here, "artifacts")},
  {
    root: join(here, "..", ".."),
    folder: "tests/differential/contracts/",
    out: join(here, "..", "..", "tests", "differential", "contracts", "artifacts"),
  },
];

function compile(root, names) {
  const own = (name) => readFileSync(join(root, name), "utf8");
  const read = new Map(names.map((name) => [name, own(name)]));
  const findImport = (path) => {
    const library = path.startsWith("@openzeppelin/contracts/");
    const known = library || (!path.startsWith("@") && existsSync(join(root, path)));
    if (!known) return {error: `no such source: ${path}`};
    const contents = library ? readFileSync(libraryPath(path), "utf8") : own(path);
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
    (e) => e.severity === "error" || !(e.sourceLocation?.file ?? "").startsWith("@"),
  );
  if (problems.length > 0) {
    console.error(problems.map((e) => e.formattedMessage).join("\n"));
    process.exit(1);
  }
  return {output, read};
}

function artifact(name, output, read) {
  const contractName = basename(name, ".sol");
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

// Writes the artifacts of one target, or counts those that are not what the sources give.
function build({root, folder, out}, check) {
  const names = readdirSync(join(root, folder)).filter((n) => n.endsWith(".sol")).sort().map((n) => folder + n);
  const {output, read} = compile(root, names);
  let stale = 0;
  mkdirSync(out, {recursive: true});
  for (const name of names) {
    const path = join(out, `${basename(name, ".sol")}.json`);
    const text = `${JSON.stringify(artifact(name, output, read), null, 1)}\n`;
    if (check) {
      const same = existsSync(path) && readFileSync(path, "utf8") === text;
      console.log(`${same ? "same " : "STALE"} ${path}`);
      stale += same ? 0 : 1;
    } else {
      writeFileSync(path, text);
      console.log(`wrote ${path}`);
    }
  }
  return stale;
}

function main(argv) {
  const targets = TARGETS.filter(({root, folder}) => existsSync(join(root, folder)));
  const stale = targets.map((target) => build(target, argv.includes("--check"))).reduce((a, b) => a + b, 0);
  process.exit(stale > 0 ? 1 : 0);
}

main(process.argv.slice(2));
