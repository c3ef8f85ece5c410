// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {
    GovernorVotesQuorumFraction
} from "@openzeppelin/contracts/governance/extensions/GovernorVotesQuorumFraction.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {IERC5805} from "@openzeppelin/contracts/interfaces/IERC5805.sol";
import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {OpenGovernor} from "../../../sim/chain/contracts/OpenGovernor.sol";

/// @dev {OpenGovernor} that counts many drawn proposals in one call; for tests. Counting, quorum and the comparison are
/// the governor's own. A proposal's id holds the supply and the quorum's numerator at its snapshot, and the twin
/// answers for them as the vote token and as the history of numerators would.
contract GovernorTwin is OpenGovernor {
    struct Votes {
        uint128 supply;
        uint32 numerator;
        uint256 for_;
        uint256 against;
        uint256 abstain;
    }

    struct Outcome {
        uint256 quorum;
        bool reached;
        bool succeeded;
    }

    constructor() OpenGovernor(IVotes(address(1)), TimelockController(payable(address(1))), 0, 1, 0, 0) {}

    function countMany(Votes[] calldata drawn) external returns (Outcome[] memory outcomes) {
        outcomes = new Outcome[](drawn.length);
        for (uint256 i = 0; i < drawn.length; ++i) {
            uint256 id = i << 160 | uint256(drawn[i].numerator) << 128 | drawn[i].supply;
            _countVote(id, address(1), 0, drawn[i].against, "");
            _countVote(id, address(2), 1, drawn[i].for_, "");
            _countVote(id, address(3), 2, drawn[i].abstain, "");
            outcomes[i] = Outcome(quorum(proposalSnapshot(id)), _quorumReached(id), _voteSucceeded(id));
        }
    }

    function proposalSnapshot(uint256 id) public pure override returns (uint256) {
        return id & type(uint160).max;
    }

    function getPastTotalSupply(uint256 timepoint) external pure returns (uint256) {
        return timepoint & type(uint128).max;
    }

    function quorumNumerator(uint256 timepoint) public pure override returns (uint256) {
        return timepoint >> 128;
    }

    function token() public view override returns (IERC5805) {
        return IERC5805(address(this));
    }

    function clock() public view override(Governor, GovernorVotes) returns (uint48) {
        return uint48(block.timestamp);
    }
}
