// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/**
 * @title Parameters, the governed parameters of the protocol
 * @dev One vector of integers per name (`fees.split` -> [2, 2, 5]). Only `governance`, the timelock, writes; so a value
 * changes only by an executed proposal, and the event carries both the old and the new value.
 *
 * NOTE: units belong to the name (basis points, gwei, seconds) and are documented where the name is; ranges are
 * checked before a proposal is made, not here.
 */
contract Parameters {
    address public immutable governance;

    mapping(bytes32 nameHash => int256[] values) private _values;

    event ParameterSet(bytes32 indexed nameHash, string name, int256[] oldValues, int256[] newValues);

    error NotGovernance(address caller, address governance);
    error LengthMismatch(uint256 names, uint256 values);
    error EmptyValue(string name);

    constructor(address governance_, string[] memory names, int256[][] memory values) {
        if (names.length != values.length) revert LengthMismatch(names.length, values.length);
        governance = governance_;
        for (uint256 i = 0; i < names.length; ++i) {
            _set(names[i], values[i]);
        }
    }

    function set(string calldata name, int256[] calldata newValues) external {
        if (msg.sender != governance) revert NotGovernance(msg.sender, governance);
        _set(name, newValues);
    }

    /// @dev The vector of `name`; empty when it was never set.
    function get(string calldata name) external view returns (int256[] memory) {
        return _values[keccak256(bytes(name))];
    }

    function _set(string memory name, int256[] memory newValues) private {
        if (newValues.length == 0) revert EmptyValue(name);
        bytes32 nameHash = keccak256(bytes(name));
        emit ParameterSet(nameHash, name, _values[nameHash], newValues);
        _values[nameHash] = newValues;
    }
}
