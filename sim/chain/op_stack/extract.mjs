// Extracts the bridge's contracts, unmodified, from @eth-optimism/contracts-bedrock.
//
//   npm ci && npm run extract          writes ../artifacts/op-stack/
//   node extract.mjs --out DIR         writes elsewhere
//
// An artifact here holds the package's own ABI and bytes, the compiler and the settings that it was built with, the
// Keccak-256 of every source (as the compiler wrote it down) and the SHA-256 of the package's file that it comes from.

import {createHash} from "node:crypto";
import {copyFileSync, mkdirSync, readFileSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(join(here, "package.json"));
const PACKAGE = "@eth-optimism/contracts-bedrock";

const CUSTOM_GAS_TOKEN = [
  "Proxy", "SuperchainConfig", "SystemConfig", "L2OutputOracle", "OptimismPortal", "L1Block", "L2ToL1MessagePasser",
];
const STANDARD_BRIDGE = [
  "L1CrossDomainMessenger", "L1StandardBridge", "L2CrossDomainMessenger", "L2StandardBridge",
  "OptimismMintableERC20Factory", "OptimismMintableERC20",
];

function artifact(root, version, contractName) {
  const file = `forge-artifacts/${contractName}.sol/${contractName}.json`;
  const raw = readFileSync(join(root, file));
  const {abi, bytecode, deployedBytecode, metadata} = JSON.parse(raw);
  const {optimizer, evmVersion, viaIR = false} = metadata.settings;
  return {
    contractName,
    package: {name: PACKAGE, version, file, sha256: createHash("sha256").update(raw).digest("hex")},
    compiler: metadata.compiler.version,
    settings: {optimizer, evmVersion, viaIR, metadata: metadata.settings.metadata},
    sources: Object.fromEntries(
      Object.entries(metadata.sources).map(([path, source]) => [path, source.keccak256]).sort(),
    ),
    abi,
    bytecode: bytecode.object,
    deployedBytecode: deployedBytecode.object,
  };
}

function main(argv) {
  const out = argv.includes("--out") ? argv[argv.indexOf("--out") + 1] : join(here, "..", "artifacts", "op-stack");
  const manifest = require.resolve(`${PACKAGE}/package.json`);
  const {version} = JSON.parse(readFileSync(manifest, "utf8"));
  mkdirSync(out, {recursive: true});
  for (const name of [...CUSTOM_GAS_TOKEN, ...STANDARD_BRIDGE]) {
    const text = JSON.stringify(artifact(dirname(manifest), version, name), null, 1);
    writeFileSync(join(out, `${name}.json`), `${text}\n`);
  }
  copyFileSync(join(dirname(manifest), "LICENSE"), join(out, "LICENSE"));
  console.log(`wrote ${out}`);
}

main(process.argv.slice(2));
