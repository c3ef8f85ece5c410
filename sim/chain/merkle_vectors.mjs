// Prints vectors of npm @openzeppelin/merkle-tree, which tests/unit/merkle_vectors.json holds:
//
//   npm ci && node merkle_vectors.mjs > ../../tests/unit/merkle_vectors.json

import {createHash} from "node:crypto";
import {StandardMerkleTree} from "@openzeppelin/merkle-tree";

const address = (i) => `0x${createHash("sha256").update(`account ${i}`).digest("hex").slice(0, 40)}`;

function vector(size) {
  const values = Array.from({length: size}, (_, i) => [address(i), String(10n ** 9n * (BigInt(i) ** 3n + 1n))]);
  const tree = StandardMerkleTree.of(values, ["address", "uint256"]);
  const shown = [...new Set([0, size >> 1, size - 1])];
  return {values, root: tree.root, proofs: shown.map((i) => ({index: i, leaf: tree.leafHash(values[i]), proof: tree.getProof(i)}))};
}

console.log(JSON.stringify([1, 2, 3, 5, 8, 13, 33].map(vector), null, 1));
