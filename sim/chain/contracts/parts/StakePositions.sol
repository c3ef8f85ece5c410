// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Parameters} from "../Parameters.sol";
import {ParameterReader} from "./ParameterReader.sol";

/**
 * @title StakePositions, the part of {Staking} that everybody uses: stake, unbonding and rewards
 * @dev Whoever stakes has a position per lock class. Unbonding takes the class's delay (`staking.locks.*`, seconds) as
 * it is when it begins. Rewards are min(pot, due) divided by stake with the largest remainder, ties to the lower
 * position, and are staked; the pot is what the contract holds beyond stake, unbonding and bonds, so a plain transfer
 * fills it and an empty pot pays nothing: yield is a result. Amounts are whole units. Formula: `rewards` of
 * models/staking.py.
 *
 * NOTE: {distribute} goes through all positions in one transaction, at most 20,000 gas each; so a position needs
 * `minStakeWei`, and an unbonding leaves that or none. Where a block cannot hold them, an accumulator has to take its
 * place, whose floors are other than the ledger's.
 *
 * WARNING: a vote that lengthens a delay binds whoever has not begun to unbond. A rewarder chooses amount and time of
 * what the pot pays.
 */
abstract contract StakePositions is AccessControl, ReentrancyGuardTransient {
    bytes32 public constant REWARDER_ROLE = keccak256("REWARDER_ROLE");

    enum Lock {
        Flexible,
        Long
    }

    struct Position {
        address owner;
        Lock lock;
        uint256 stakeWei;
    }

    /// @dev Stake that is free from `freeAt` (seconds) on; its owner is zero once it was withdrawn.
    struct Exit {
        address owner;
        uint48 freeAt;
        uint256 amountWei;
    }

    Parameters public immutable parameters;
    uint256 public immutable unit;
    uint256 public immutable minStakeWei;

    uint256 public totalStaked;
    uint256 public totalUnbonding;
    uint256 public totalBonds;

    Position[] private _positions;
    Exit[] private _exits;
    mapping(address owner => mapping(Lock => uint256 numberPlusOne)) private _positionOf;

    event Staked(address indexed owner, Lock lock, uint256 position, uint256 amount);
    event UnbondingStarted(address indexed owner, Lock lock, uint256 indexed exit, uint256 amount, uint48 freeAt);
    event Withdrawn(address indexed owner, uint256 indexed exit, uint256 amount);
    event Rewarded(address indexed owner, uint256 position, uint256 amount);
    event RewardsDistributed(uint256 due, uint256 paid, uint256 staked);

    error InvalidUnit(uint256 unit, uint256 minStakeWei);
    error NotWholeUnits(uint256 amount, uint256 unit);
    error ZeroAmount();
    error BelowMinimum(uint256 stakeWei, uint256 minStakeWei);
    error InsufficientStake(uint256 stakeWei, uint256 amount);
    error NoSuchNumber(uint256 number, uint256 count);
    error AlreadyDone(uint256 number);
    error StillUnbonding(uint48 freeAt, uint256 timestamp);

    constructor(Parameters parameters_, uint256 unit_, uint256 minStakeWei_) {
        if (unit_ == 0 || minStakeWei_ == 0 || minStakeWei_ % unit_ != 0) revert InvalidUnit(unit_, minStakeWei_);
        parameters = parameters_;
        unit = unit_;
        minStakeWei = minStakeWei_;
    }

    /// @dev Fills the reward pot.
    receive() external payable {}

    /// @dev Adds `msg.value` to the sender's position in a lock class.
    function stake(Lock lock) external payable {
        _checkAmount(msg.value);
        uint256 number = _positionOf[msg.sender][lock];
        if (number == 0) {
            _positions.push(Position(msg.sender, lock, 0));
            number = _positions.length;
            _positionOf[msg.sender][lock] = number;
        }
        Position storage position_ = _positions[number - 1];
        position_.stakeWei += msg.value;
        if (position_.stakeWei < minStakeWei) revert BelowMinimum(position_.stakeWei, minStakeWei);
        totalStaked += msg.value;
        emit Staked(msg.sender, lock, number - 1, msg.value);
    }

    /// @dev Begins to unbond; returns the number under which {withdraw} pays after the delay.
    function unbond(Lock lock, uint256 amount) external returns (uint256 exit_) {
        _checkAmount(amount);
        uint256 held = stakeOf(msg.sender, lock);
        if (amount > held) revert InsufficientStake(held, amount);
        uint256 left = held - amount;
        if (left != 0 && left < minStakeWei) revert BelowMinimum(left, minStakeWei);
        uint48 freeAt = SafeCast.toUint48(block.timestamp + delaySeconds(lock));
        _positions[_positionOf[msg.sender][lock] - 1].stakeWei = left;
        totalStaked -= amount;
        totalUnbonding += amount;
        exit_ = _exits.length;
        _exits.push(Exit(msg.sender, freeAt, amount));
        emit UnbondingStarted(msg.sender, lock, exit_, amount, freeAt);
    }

    /// @dev Pays an exit whose delay is over to its owner. Anybody may call it.
    function withdraw(uint256 exit_) external nonReentrant {
        Exit memory found = exit(exit_);
        if (found.owner == address(0)) revert AlreadyDone(exit_);
        if (block.timestamp < found.freeAt) revert StillUnbonding(found.freeAt, block.timestamp);
        _exits[exit_].owner = address(0);
        totalUnbonding -= found.amountWei;
        emit Withdrawn(found.owner, exit_, found.amountWei);
        Address.sendValue(payable(found.owner), found.amountWei);
    }

    /// @dev Pays min(pot, `due`), whole units of it, into the positions in proportion to their stake.
    function distribute(uint256 due) external onlyRole(REWARDER_ROLE) returns (uint256 paid) {
        uint256 pot = rewardPot();
        uint256 units = totalStaked == 0 ? 0 : (due < pot ? due : pot) / unit;
        paid = units * unit;
        if (units > 0) _reward(units, totalStaked / unit);
        emit RewardsDistributed(due, paid, totalStaked);
        totalStaked += paid;
    }

    /// @dev What rewards can be paid from: the balance beyond stake, unbonding stake and bonds.
    function rewardPot() public view returns (uint256) {
        return address(this).balance - totalStaked - totalUnbonding - totalBonds;
    }

    function stakeOf(address owner, Lock lock) public view returns (uint256) {
        uint256 number = _positionOf[owner][lock];
        return number == 0 ? 0 : _positions[number - 1].stakeWei;
    }

    /// @dev Unbonding delay of a lock class now, in seconds.
    function delaySeconds(Lock lock) public view returns (uint256) {
        string memory name = lock == Lock.Flexible ? "staking.locks.flexible" : "staking.locks.long";
        return ParameterReader.latest(parameters, name, 0);
    }

    function positionCount() external view returns (uint256) {
        return _positions.length;
    }

    function position(uint256 number) external view returns (Position memory) {
        if (number >= _positions.length) revert NoSuchNumber(number, _positions.length);
        return _positions[number];
    }

    function exit(uint256 number) public view returns (Exit memory) {
        if (number >= _exits.length) revert NoSuchNumber(number, _exits.length);
        return _exits[number];
    }

    /// @dev Lowers a position by floor(stake * bps / 10^4); returns that in units, to be paid out by the caller.
    function _take(address accused, Lock lock, uint256 bps) internal returns (uint256 units) {
        uint256 number = _positionOf[accused][lock];
        if (number == 0) return 0;
        Position storage position_ = _positions[number - 1];
        units = position_.stakeWei / unit * bps / 10_000;
        position_.stakeWei -= units * unit;
        totalStaked -= units * unit;
    }

    /// @dev Adds floor(units * weight / whole) to every position, and one unit more to those with the largest
    /// remainders, the lower position first where they are equal, until `units` are paid.
    function _reward(uint256 units, uint256 whole) private {
        uint256[] memory remainders = new uint256[](_positions.length);
        uint256 leftover = units;
        for (uint256 i = 0; i < remainders.length; ++i) {
            uint256 weighted = units * (_positions[i].stakeWei / unit);
            remainders[i] = weighted % whole;
            leftover -= weighted / whole;
        }
        uint256 least = leftover == 0 ? whole : _leastToWin(remainders, leftover, whole);
        uint256 ties = leftover - _countFrom(remainders, least + 1);
        for (uint256 i = 0; i < remainders.length; ++i) {
            Position storage position_ = _positions[i];
            uint256 reward = units * (position_.stakeWei / unit) / whole;
            if (remainders[i] > least) {
                ++reward;
            } else if (remainders[i] == least && ties > 0) {
                ++reward;
                --ties;
            }
            if (reward == 0) continue;
            position_.stakeWei += reward * unit;
            emit Rewarded(position_.owner, i, reward * unit);
        }
    }

    /// @dev The largest number that at least `winners` remainders reach, by bisection: no order of stakes makes it
    /// dear, as it could a sort. At least so many remainders are above 0.
    function _leastToWin(uint256[] memory remainders, uint256 winners, uint256 whole)
        private
        pure
        returns (uint256 low)
    {
        low = 1;
        uint256 high = whole - 1;
        while (low < high) {
            uint256 middle = (low + high + 1) / 2;
            if (_countFrom(remainders, middle) >= winners) low = middle;
            else high = middle - 1;
        }
    }

    function _countFrom(uint256[] memory remainders, uint256 least) private pure returns (uint256 count) {
        for (uint256 i = 0; i < remainders.length; ++i) {
            if (remainders[i] >= least) ++count;
        }
    }

    function _checkAmount(uint256 amount) internal view {
        if (amount == 0) revert ZeroAmount();
        if (amount % unit != 0) revert NotWholeUnits(amount, unit);
    }
}
