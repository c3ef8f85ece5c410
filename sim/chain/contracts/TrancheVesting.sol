// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/**
 * @title TrancheVesting, one allocation bucket
 * @dev Cumulative floor: with allocation A, part T free from `start`, dates d_1 < ... < d_n and cumulative numerators
 * w_1 <= ... <= w_n = D,
 *
 *   vested(t) = (T from `start` on) + floor((A - T) / unit * w_k / D) * unit,   k = number of dates <= t
 *
 * so rounding never drifts and the last date closes at exactly A. n equal instalments have w_k = k and D = n; a
 * catch-up at a cliff has a first numerator above one; piecewise rates have unequal steps; a table of amounts has
 * D = (A - T) / unit and w_k the cumulative amount in units. No owner, nothing can be changed.
 *
 * NOTE: `unit` is 10^9 wei where a ledger in gwei has to agree to the wei; 1 gives the finest floor.
 *
 * WARNING: the contract pays out of its own balance and has to be funded with A; a release beyond the balance reverts.
 */
contract TrancheVesting {
    using SafeERC20 for IERC20;

    IERC20 public immutable token;
    address public immutable beneficiary;
    uint256 public immutable allocation;
    uint256 public immutable tgePart;
    uint256 public immutable unit;
    uint64 public immutable start;
    uint64 public immutable denominator;

    /// @dev Amount paid so far, in wei.
    uint256 public released;

    uint64[] private _dates;
    uint64[] private _numerators;

    event Released(address indexed beneficiary, uint256 amount, uint256 totalReleased);

    error InvalidUnit(uint256 unit, uint256 allocation, uint256 tgePart);
    error TgePartAboveAllocation(uint256 tgePart, uint256 allocation);
    error LengthMismatch(uint256 dates, uint256 numerators);
    error DatesNotIncreasing(uint256 index, uint64 previous, uint64 date);
    error NumeratorsDecreasing(uint256 index, uint64 previous, uint64 numerator);
    error NeverVestsFully(uint64 lastNumerator, uint64 denominator);
    error NothingToRelease(uint256 totalReleased, uint256 timestamp);

    constructor(
        IERC20 token_,
        address beneficiary_,
        uint256 allocation_,
        uint256 tgePart_,
        uint256 unit_,
        uint64 start_,
        uint64[] memory dates_,
        uint64[] memory numerators_,
        uint64 denominator_
    ) {
        if (unit_ == 0 || allocation_ % unit_ != 0 || tgePart_ % unit_ != 0) {
            revert InvalidUnit(unit_, allocation_, tgePart_);
        }
        if (tgePart_ > allocation_) revert TgePartAboveAllocation(tgePart_, allocation_);
        if (dates_.length != numerators_.length) revert LengthMismatch(dates_.length, numerators_.length);
        _checkTable(dates_, numerators_);
        uint64 last = numerators_.length == 0 ? 0 : numerators_[numerators_.length - 1];
        if (tgePart_ < allocation_ && (denominator_ == 0 || last != denominator_)) {
            revert NeverVestsFully(last, denominator_);
        }
        token = token_;
        beneficiary = beneficiary_;
        allocation = allocation_;
        tgePart = tgePart_;
        unit = unit_;
        start = start_;
        denominator = denominator_;
        _dates = dates_;
        _numerators = numerators_;
    }

    /// @dev Pays everything vested and not yet paid to the beneficiary. Anybody may call it.
    function release() external returns (uint256 amount) {
        amount = releasable();
        if (amount == 0) revert NothingToRelease(released, block.timestamp);
        released += amount;
        emit Released(beneficiary, amount, released);
        token.safeTransfer(beneficiary, amount);
    }

    function releasable() public view returns (uint256) {
        return vestedAmount(uint64(block.timestamp)) - released;
    }

    function vestedAmount(uint64 timestamp) public view returns (uint256) {
        uint256 k = _instalmentsUntil(timestamp);
        uint256 instalments_ = k == 0 ? 0 : _vestingSchedule(_numerators[k - 1]);
        return timestamp < start ? instalments_ : tgePart + instalments_;
    }

    function instalments() external view returns (uint64[] memory dates, uint64[] memory numerators) {
        return (_dates, _numerators);
    }

    /// @dev The one formula, apart from storage lookups: multiply before dividing, floor once, in units. A schedule
    /// without instalments has denominator 0 and never gets here.
    function _vestingSchedule(uint256 numerator) internal view returns (uint256) {
        return ((allocation - tgePart) / unit) * numerator / denominator * unit;
    }

    /// @dev Number of dates at or before `timestamp`, by bisection.
    function _instalmentsUntil(uint64 timestamp) private view returns (uint256 low) {
        uint256 high = _dates.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (_dates[middle] <= timestamp) low = middle + 1;
            else high = middle;
        }
    }

    function _checkTable(uint64[] memory dates_, uint64[] memory numerators_) private pure {
        for (uint256 i = 1; i < dates_.length; ++i) {
            if (dates_[i] <= dates_[i - 1]) revert DatesNotIncreasing(i, dates_[i - 1], dates_[i]);
            if (numerators_[i] < numerators_[i - 1]) {
                revert NumeratorsDecreasing(i, numerators_[i - 1], numerators_[i]);
            }
        }
    }
}
