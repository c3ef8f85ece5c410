/** Claims of an olsim settlement file: what a payee sends to AttributionDistributor. */

export interface Claim {
  /** Lower case. */
  address: string;
  /** All that was ever earned, wei. */
  cumulativeWei: bigint;
  /** Hashes, 0x and 64 digits each. */
  proof: string[];
  /** Payout root that the contract has. */
  root: string;
}

/** What of a settlement file is read. */
export interface SettlementFile {
  payees: { address: string; cumulative_wei: string; proof: string[] }[];
  payout: { root: string };
}

/** A payee's claim; throws RangeError if nothing was ever earned under the address. */
export function claimOf(settlement: SettlementFile, address: string): Claim;

/** Call data of `claim(address,uint256,bytes32[])`; anybody may send it, the payee is paid. */
export function claimCall(claim: Claim): string;

/** Whether the contract would take the claim under `root`. */
export function verifyClaim(claim: Claim, keccak256: (data: Uint8Array) => Uint8Array): boolean;
