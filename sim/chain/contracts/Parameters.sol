// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/**
 * @title Parameters, the governed parameters of the protocol
 * @dev One vector of integers per name (`fees.split` -> [2, 2, 5]). Only `governance`, the timelock, writes; so a value
 * changes only by an executed proposal, and the event carries both the old and the new value. Every value stays
 * readable with the second it was set at: {getAt} answers which one was in force at a time, so that money of a past
 * day can be divided by the rule of that day however late that happens. Values at genesis hold from the second they
 * are dated with: 0 for what holds from the beginning, later for changes that were announced before.
 *
 * NOTE: units belong to the name (basis points, gwei, seconds) and are documented where the name is; ranges are
 * checked before a proposal is made, not here.
 *
 * NOTE: a second change in the same second takes the place of the first. A change that was announced at genesis holds
 * from its second on, also over what a vote set before it.
 *
 * WARNING: a reader that wants "binding from the next day" has to ask for the last second of the day before, as
 * {FeeSplitter} does; {get} changes in the very transaction that sets a value.
 */
contract Parameters {
    /// @dev Values that are in force from `time` (seconds) on.
    struct Checkpoint {
        uint48 time;
        int256[] values;
    }

    address public immutable governance;

    mapping(bytes32 nameHash => Checkpoint[] checkpoints) private _history;

    event ParameterSet(bytes32 indexed nameHash, string name, int256[] oldValues, int256[] newValues);

    error NotGovernance(address caller, address governance);
    error LengthMismatch(uint256 names, uint256 values);
    error EmptyValue(string name);

    constructor(address governance_, string[] memory names, int256[][] memory values, uint48[] memory times) {
        if (names.length != values.length) revert LengthMismatch(names.length, values.length);
        if (names.length != times.length) revert LengthMismatch(names.length, times.length);
        governance = governance_;
        for (uint256 i = 0; i < names.length; ++i) {
            _set(names[i], values[i], times[i]);
        }
    }

    function set(string calldata name, int256[] calldata newValues) external {
        if (msg.sender != governance) revert NotGovernance(msg.sender, governance);
        _set(name, newValues, uint48(block.timestamp));
    }

    /// @dev The vector of `name` now; empty when it was never set.
    function get(string calldata name) external view returns (int256[] memory) {
        return _valuesAt(keccak256(bytes(name)), uint48(block.timestamp));
    }

    /// @dev The vector of `name` at the end of second `time`; empty when it was not set by then.
    function getAt(string calldata name, uint48 time) external view returns (int256[] memory) {
        return _valuesAt(keccak256(bytes(name)), time);
    }

    /// @dev The last checkpoint not after `time`, by bisection.
    function _valuesAt(bytes32 nameHash, uint48 time) private view returns (int256[] memory values) {
        Checkpoint[] storage checkpoints = _history[nameHash];
        uint256 low = 0;
        uint256 high = checkpoints.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (checkpoints[middle].time <= time) low = middle + 1;
            else high = middle;
        }
        if (low > 0) values = checkpoints[low - 1].values;
    }

    function _set(string memory name, int256[] memory newValues, uint48 time) private {
        if (newValues.length == 0) revert EmptyValue(name);
        bytes32 nameHash = keccak256(bytes(name));
        emit ParameterSet(nameHash, name, _valuesAt(nameHash, time), newValues);
        Checkpoint[] storage checkpoints = _history[nameHash];
        uint256 place = checkpoints.length;
        while (place > 0 && checkpoints[place - 1].time > time) --place;
        if (place > 0 && checkpoints[place - 1].time == time) {
            checkpoints[place - 1].values = newValues;
            return;
        }
        checkpoints.push(Checkpoint(time, newValues));
        for (uint256 i = checkpoints.length - 1; i > place; --i) {
            checkpoints[i] = checkpoints[i - 1];
        }
        if (place < checkpoints.length - 1) checkpoints[place] = Checkpoint(time, newValues);
    }
}
