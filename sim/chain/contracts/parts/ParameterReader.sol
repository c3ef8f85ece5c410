// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Parameters} from "../Parameters.sol";

/**
 * @title ParameterReader, governed values as numbers that may be calculated with
 * @dev A parameter that was never set and a negative value are refused by name, never read as 0.
 */
library ParameterReader {
    error ParameterMissing(string name, uint256 index);
    error ParameterNegative(string name, uint256 index, int256 value);

    /// @dev Value `index` of `name` now.
    function latest(Parameters parameters, string memory name, uint256 index) internal view returns (uint256) {
        return item(parameters.get(name), name, index);
    }

    /// @dev Value `index` of a vector that was read for `name`.
    function item(int256[] memory values, string memory name, uint256 index) internal pure returns (uint256) {
        if (index >= values.length) revert ParameterMissing(name, index);
        if (values[index] < 0) revert ParameterNegative(name, index, values[index]);
        return uint256(values[index]);
    }
}
