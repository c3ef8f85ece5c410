// What a wallet asks of a node: network, fees, transactions of each type, deployment, reverts, events, signatures.

import assert from "node:assert/strict";
import {ContractFactory, HDNodeWallet, Interface, toBeHex, verifyMessage, verifyTypedData} from "ethers";
import {OPEN, contract, deployment, l1, l2, mined, refused, socket} from "./network.mjs";

const snapshot = await l2.send("evm_snapshot", []);
const {mnemonic} = deployment.development;
const wallet = HDNodeWallet.fromPhrase(mnemonic, undefined, "m/44'/60'/0'/0/2").connect(l2);
const other = deployment.development.accounts[3];

assert.equal((await l2.getNetwork()).chainId, BigInt(deployment.chain_id));
assert.equal((await l1.getNetwork()).chainId, BigInt(deployment.l1.chain_id));
assert.equal(wallet.address, deployment.development.accounts[2]);
const fees = await l2.getFeeData();
assert.equal(fees.gasPrice, 0n);
assert.equal((await l2.getBlock("pending")).number, await l2.getBlockNumber() + 1);
assert.equal(await l2.getTransactionReceipt("0x" + "11".repeat(32)), null);

for (const type of [0, 1, 2]) {
  const receipt = await mined(wallet.sendTransaction({to: other, value: 5n, type, ...(type === 1 ? {accessList: []} : {})}));
  const sent = await receipt.getTransaction();
  assert.deepEqual([sent.type, sent.from, sent.to, sent.value, receipt.gasUsed], [type, wallet.address, other, 5n, 21_000n]);
}

// A contract of 10 bytes that answers 42.
const answers = new ContractFactory(new Interface(["function f() view returns (uint256)"]), "0x600a600c600039600a6000f3602a60005260206000f3", wallet);
const deployed = await answers.deploy();
await deployed.waitForDeployment();
assert.equal(await deployed.f(), 42n);
assert.equal(await l2.getCode(await deployed.getAddress()), "0x602a60005260206000f3");

const gopen = contract("GOPEN", wallet);
await refused(gopen.transfer(other, 1n), (error) => {
  assert.equal(error.code, "CALL_EXCEPTION");
  const reason = gopen.interface.parseError(error.data);
  assert.deepEqual([reason.name, ...reason.args], ["ERC20InsufficientBalance", wallet.address, 0n, 1n]);
});
await refused(gopen.transfer.staticCall(other, 1n), (error) => assert.equal(error.revert.name, "ERC20InsufficientBalance"));
const failed = await wallet.sendTransaction({to: gopen.target, data: gopen.interface.encodeFunctionData("transfer", [other, 1n]), gasLimit: 100_000});
await refused(failed.wait(), (error) => assert.equal(error.receipt.status, 0));
await refused(wallet.sendTransaction({to: other, nonce: 0}), (error) => assert.equal(error.code, "NONCE_EXPIRED"));
await refused(wallet.sendTransaction({to: other, value: 10n ** 30n, gasLimit: 21_000}), (error) => assert.equal(error.code, "INSUFFICIENT_FUNDS"));

// Events by query and by subscription over a WebSocket.
const live = socket(deployment.rpc_url), heads = [], heard = [];
await live.on("block", (number) => heads.push(number));
const listening = contract("GOPEN", live);
await listening.on(listening.filters.Transfer(null, other), (event) => heard.push([...event.args]));
await live.getBlockNumber();
const receipt = await mined(gopen.deposit({value: 3n * OPEN}));
await mined(gopen.transfer(other, OPEN));
const found = await gopen.queryFilter(gopen.filters.Transfer(wallet.address), receipt.blockNumber);
assert.deepEqual(found.map((log) => log.args.value), [OPEN]);
assert.deepEqual(receipt.logs.map((log) => log.fragment?.name ?? "?").filter((name) => name === "Deposit"), ["Deposit"]);
for (let waited = 0; waited < 100 && heard.length === 0; waited++) await new Promise((done) => setTimeout(done, 50));
assert.deepEqual(heard, [[wallet.address, other, OPEN]]);
assert.equal(heads.at(-1), await l2.getBlockNumber());
await live.destroy();

// Signatures of the accounts that the node holds.
const signer = await l2.getSigner(2);
assert.equal(verifyMessage("hello", await signer.signMessage("hello")), wallet.address);
const domain = {name: "olsim", version: "1", chainId: deployment.chain_id, verifyingContract: gopen.target};
const types = {Mail: [{name: "to", type: "address"}, {name: "text", type: "string"}, {name: "numbers", type: "uint256[]"}]};
const mail = {to: other, text: "hello", numbers: [1n, 2n ** 200n]};
assert.equal(verifyTypedData(domain, types, mail, await signer.signTypedData(domain, types, mail)), wallet.address);
assert.equal(await signer.signTypedData(domain, types, mail), await wallet.signTypedData(domain, types, mail));

// A call under another state, a proof, and an access list.
const slot = toBeHex(0, 32), code = "0x5f545f5260205ff3";
const seen = await l2.send("eth_call", [{to: other, data: "0x"}, "latest", {[other]: {code, stateDiff: {[slot]: toBeHex(77, 32)}}}]);
assert.equal(BigInt(seen), 77n);
const proof = await l2.send("eth_getProof", [gopen.target, [slot], "latest"]);
assert(proof.accountProof.length > 0 && proof.storageProof.length === 1);
const listed = await l2.send("eth_createAccessList", [{from: wallet.address, to: gopen.target, input: gopen.interface.encodeFunctionData("transfer", [other, 1n])}]);
assert.equal(listed.accessList[0].address, gopen.target.toLowerCase());

assert.equal(await l2.send("evm_revert", [snapshot]), true);
process.exit(0);
