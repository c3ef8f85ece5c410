// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {FeeMath} from "../../../sim/chain/contracts/parts/FeeMath.sol";

/// @dev The library that {FeeSplitter} splits with, for many drawn bills and settlements in one call; for tests.
contract FeeTwin {
    struct Bill {
        uint256 fee;
        FeeMath.Rule rule;
    }

    struct Day {
        uint256 gross;
        uint256 bills;
        FeeMath.Rule rule;
        FeeMath.Split booked;
    }

    function splitMany(Bill[] calldata drawn) external pure returns (FeeMath.Split[] memory parts) {
        parts = new FeeMath.Split[](drawn.length);
        for (uint256 i = 0; i < drawn.length; ++i) {
            parts[i] = FeeMath.split(drawn[i].fee, drawn[i].rule);
        }
    }

    function checkMany(Day[] calldata drawn) external pure returns (FeeMath.Disagreement[] memory found) {
        found = new FeeMath.Disagreement[](drawn.length);
        for (uint256 i = 0; i < drawn.length; ++i) {
            found[i] = FeeMath.firstDisagreement(drawn[i].gross, drawn[i].bills, drawn[i].rule, drawn[i].booked);
        }
    }

    function payOperatorsMany(uint256[] calldata platform, uint256[] calldata claims)
        external
        pure
        returns (uint256[] memory operators, uint256[] memory treasury)
    {
        operators = new uint256[](platform.length);
        treasury = new uint256[](platform.length);
        for (uint256 i = 0; i < platform.length; ++i) {
            (operators[i], treasury[i]) = FeeMath.payOperators(platform[i], claims[i]);
        }
    }
}
