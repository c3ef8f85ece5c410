// Claims of an olsim settlement file without any package: what a payee sends to AttributionDistributor, and the check
// that the contract makes. Rules: amounts are BigInt wei; the hash function is passed in, because neither browsers nor
// Node.js have Keccak-256; nothing is signed or sent here.

const CLAIM = "0x3d13f874"; // claim(address,uint256,bytes32[])
const word = (hex) => hex.replace(/^0x/, "").toLowerCase().padStart(64, "0");

export function claimOf(settlement, address) {
  const wanted = address.toLowerCase();
  const payee = settlement.payees.find((entry) => entry.address === wanted);
  if (payee === undefined) throw new RangeError(`${address} is none of the ${settlement.payees.length} payees`);
  return { address: wanted, cumulativeWei: BigInt(payee.cumulative_wei), proof: payee.proof, root: settlement.payout.root };
}

export function claimCall({ address, cumulativeWei, proof }) {
  const words = [address, cumulativeWei.toString(16), "60", proof.length.toString(16), ...proof];
  return CLAIM + words.map(word).join("");
}

// keccak256: Uint8Array -> Uint8Array of 32 bytes. Leaves are hashed twice, pairs are sorted (OpenZeppelin standard-v1).
export function verifyClaim({ address, cumulativeWei, proof, root }, keccak256) {
  let node = keccak256(keccak256(bytes(word(address) + word(cumulativeWei.toString(16)))));
  for (const sibling of proof.map(bytes)) node = keccak256(joined(...[node, sibling].sort(compare)));
  return compare(node, bytes(root)) === 0;
}

function bytes(hex) {
  return Uint8Array.from(hex.replace(/^0x/, "").match(/../g), (pair) => parseInt(pair, 16));
}

function joined(left, right) {
  const both = new Uint8Array(left.length + right.length);
  both.set(left);
  both.set(right, left.length);
  return both;
}

function compare(left, right) {
  const i = left.findIndex((value, at) => value !== right[at]);
  return i < 0 ? 0 : left[i] - right[i];
}
