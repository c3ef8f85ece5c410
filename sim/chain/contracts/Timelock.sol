// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/**
 * @title Timelock, the executor of passed proposals and the holder of the L2 treasury
 * @dev OpenZeppelin's TimelockController unchanged. Deployed with no proposer and no executor; the deployer grants
 * the governor PROPOSER, EXECUTOR and CANCELLER and then renounces the admin role, so that every later change of
 * roles needs a proposal.
 *
 * NOTE: a guardian is an account with CANCELLER alone: it can stop what waits here and nothing else. EXECUTOR for the
 * zero address lets anybody execute here; without it anybody still executes through the governor.
 *
 * WARNING: between deployment and that renouncement the deployer can grant any role.
 *
 * WARNING: a guardian that cancels everything also cancels the proposal that would take its role away.
 */
contract Timelock is TimelockController {
    constructor(uint256 minDelaySeconds, address[] memory proposers, address[] memory executors, address admin)
        TimelockController(minDelaySeconds, proposers, executors, admin)
    {}
}
