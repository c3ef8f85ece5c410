// What the scripts share: providers, contracts and signers of the deployment file given as the first argument.

import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import {Contract, JsonRpcProvider, WebSocketProvider} from "ethers";

export const OPEN = 10n ** 18n;
export const DAY = 86_400;
export const deployment = JSON.parse(readFileSync(process.argv[2], "utf8"));

// An instant chain outruns ethers' cache of 250 ms.
export const provider = (url) => new JsonRpcProvider(url, undefined, {cacheTimeout: -1});
export const l2 = provider(deployment.rpc_url);
export const l1 = provider(deployment.l1.rpc_url);
export const socket = (url) => new WebSocketProvider(url.replace("http", "ws"));

export function contract(name, runner) {
  const entry = deployment.contracts[name] ?? deployment.l1.contracts[name];
  return new Contract(entry.address, entry.abi, runner);
}

export async function mined(sent) {
  const receipt = await (await sent).wait();
  assert.equal(receipt.status, 1);
  return receipt;
}

export async function travel(node, seconds) {
  await node.send("evm_increaseTime", [seconds]);
  await node.send("evm_mine", []);
}

export async function refused(promise, check) {
  try {
    await promise;
  } catch (error) {
    check(error);
    return;
  }
  assert.fail("was not refused");
}
