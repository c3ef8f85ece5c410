// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {TrancheVesting} from "../../../sim/chain/contracts/TrancheVesting.sol";

/// @dev {TrancheVesting} that answers for many seconds in one call; for tests.
contract VestingTwin is TrancheVesting {
    constructor(
        uint256 allocation,
        uint256 tgePart,
        uint256 unit,
        uint64 start,
        uint64[] memory dates,
        uint64[] memory numerators,
        uint64 denominator
    )
        TrancheVesting(IERC20(address(1)), address(1), allocation, tgePart, unit, start, dates, numerators, denominator)
    {}

    function vestedMany(uint64[] calldata timestamps) external view returns (uint256[] memory vested) {
        vested = new uint256[](timestamps.length);
        for (uint256 i = 0; i < timestamps.length; ++i) {
            vested[i] = vestedAmount(timestamps[i]);
        }
    }
}
