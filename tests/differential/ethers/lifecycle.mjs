// The life of OPEN from ethers: wrap, delegate, propose, vote, queue, execute, vest, claim, over the bridge and home.

import assert from "node:assert/strict";
import {AbiCoder, Wallet, id, keccak256} from "ethers";
import {DAY, OPEN, contract, deployment, l1, l2, mined, refused, travel} from "./network.mjs";

const [me, other] = [await l2.getSigner(0), await l2.getSigner(1)];
const snapshot = await l2.send("evm_snapshot", []);

async function govern() {
  const gopen = contract("GOPEN", me), governor = contract("OpenGovernor", me), parameters = contract("Parameters", me);
  await mined(gopen.deposit({value: 400_000n * OPEN}));
  await mined(gopen.delegate(me.address));
  await travel(l2, 1);
  const call = parameters.interface.encodeFunctionData("set", ["fees.split", [2, 1, 6]]);
  const proposal = [[parameters.target], [0], [call]];
  const receipt = await mined(governor.propose(...proposal, "data first"));
  const created = receipt.logs.find((log) => log.fragment?.name === "ProposalCreated");
  await travel(l2, DAY + 1);
  await mined(governor.castVote(created.args.proposalId, 1));
  await refused(governor.castVote(created.args.proposalId, 1), (error) => {
    assert.equal(error.code, "CALL_EXCEPTION");
    assert.equal(governor.interface.parseError(error.data).name, "GovernorAlreadyCastVote");
  });
  await travel(l2, 7 * DAY);
  const rest = [...proposal, id("data first")];
  await mined(governor["queue(address[],uint256[],bytes[],bytes32)"](...rest));
  await travel(l2, 7 * DAY);
  await mined(governor["execute(address[],uint256[],bytes[],bytes32)"](...rest));
  assert.deepEqual([...(await parameters.get("fees.split"))], [2n, 1n, 6n]);
}

async function vest() {
  const vesting = contract("vesting.community", await l1.getSigner(0));
  await mined(vesting.release());
  const before = await vesting.released();
  await travel(l1, 31 * DAY);
  await mined(vesting.release());
  assert(await vesting.released() > before);
}

async function claim() {
  const payee = Wallet.createRandom().address, amount = 1_000n * OPEN, zero = "0x" + "00".repeat(32);
  const leaf = keccak256(keccak256(AbiCoder.defaultAbiCoder().encode(["address", "uint256"], [payee, amount])));
  const poster = await l2.getSigner(deployment.accounts["distributor.poster"]);
  const distributor = contract("AttributionDistributor", poster);
  await mined(distributor.postEpoch(1, zero, 0, leaf, amount, zero, {value: amount}));
  await mined(distributor.connect(other).claim(payee, amount, []));
  assert.equal(await l2.getBalance(payee), amount);
  await refused(distributor.connect(other).claim(payee, amount, []), (error) =>
    assert.equal(distributor.interface.parseError(error.data).name, "NothingToClaim"));
}

async function bridge() {
  const mine = await l1.getSigner(1), portal = contract("OptimismPortal", mine), token = contract("OPEN", mine);
  const before = await l2.getBalance(mine.address), amount = 2_000n * OPEN;
  await mined(token.approve(portal.target, amount));
  await mined(portal.depositERC20Transaction(mine.address, amount, amount, 21_000, false, "0x"));
  assert.equal(await l2.getBalance(mine.address), before + amount);
  const deposits = (await l2.getBlock("latest", true)).prefetchedTransactions;
  assert.deepEqual(deposits.map((one) => [one.type, one.from, one.value]), [[126, mine.address, amount]]);
  await mined(contract("L2ToL1MessagePasser", other).initiateWithdrawal(mine.address, 100_000, "0x", {value: 400n * OPEN}));
  const [waiting] = await l2.send("olsim_withdrawals", []);
  await travel(l1, Number(waiting.provableAt) - (await l1.getBlock("latest")).timestamp);
  const proof = await l1.send("olsim_withdrawalProof", [waiting.withdrawalHash]);
  await mined(portal.proveWithdrawalTransaction(proof.transaction, proof.outputIndex, proof.outputRootProof, proof.withdrawalProof));
  await refused(portal.finalizeWithdrawalTransaction(proof.transaction), (error) =>
    assert.match(error.reason, /finalization period has not elapsed/));
  const held = await token.balanceOf(mine.address);
  await travel(l1, 7 * DAY + 1);
  await mined(portal.finalizeWithdrawalTransaction(proof.transaction));
  assert.equal(await token.balanceOf(mine.address), held + 400n * OPEN);
}

await govern();
await vest();
await claim();
await bridge();
assert.equal(await l2.send("evm_revert", [snapshot]), true);
process.exit(0);
