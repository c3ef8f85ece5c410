// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AttributionDistributor} from "../../../sim/chain/contracts/AttributionDistributor.sol";

/// @dev {AttributionDistributor} that makes many claims in one transaction and says what each paid, or the first four
/// bytes of the error that refused it; for tests.
contract DistributorTwin is AttributionDistributor {
    struct Claim {
        address account;
        uint256 cumulativeAmount;
        bytes32[] proof;
    }

    event Answers(uint256[] paid, bytes4[] refusals);

    constructor(address poster) AttributionDistributor(poster, poster) {}

    function claimMany(Claim[] calldata drawn) external {
        uint256[] memory paid = new uint256[](drawn.length);
        bytes4[] memory refusals = new bytes4[](drawn.length);
        for (uint256 i = 0; i < drawn.length; ++i) {
            Claim calldata c = drawn[i];
            try this.claim(c.account, c.cumulativeAmount, c.proof) returns (uint256 amount) {
                paid[i] = amount;
            } catch (bytes memory reason) {
                refusals[i] = bytes4(reason);
            }
        }
        emit Answers(paid, refusals);
    }
}
