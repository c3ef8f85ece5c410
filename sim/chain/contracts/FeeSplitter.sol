// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Parameters} from "./Parameters.sol";
import {FeeMath} from "./parts/FeeMath.sol";
import {ParameterReader} from "./parts/ParameterReader.sol";

/**
 * @title FeeSplitter, the reward formula paid in native OPEN
 * @dev {pay} splits one bill, exactly as `split_reference` of `models/fees.py`. {settle} pays out bills that were
 * split one by one elsewhere, after checking their sums against the bounds of `split_bounds`; their fees come in by
 * plain transfer or with the call. A fee is split by the rule of the day it was billed: the values that {Parameters}
 * had at the end of the day before, so that an executed vote binds from the next day (UTC), and bills of days before
 * it are still settled by the rule then in force, however late.
 *
 * The platform part pays the operators' claim before the treasury gets the rest. A single bill knows no claim: {pay}
 * keeps its platform part here (`heldWei`) until the next settlement.
 *
 * NOTE: `unit` is the ledger's unit, in wei; fees are whole units, and `fees.platform`'s flat amount counts in them.
 * A platform or burned share that was never set is 0; weights have to be set.
 *
 * WARNING: a settler is trusted with the list of bills. The bounds widen by a unit or a few for every bill it names
 * and by the flat part; it names the day, and with it the rule; and it names the operators' claim, which the platform
 * part caps. All of it is in the event, so that anybody with the log can recompute it.
 *
 * WARNING: a vote for shares above the whole, negative values or weights that are all 0 stops the bills of the
 * following days until another vote; earlier days can still be settled.
 *
 * WARNING: payees are paid directly. One that refuses coins stops both functions until the admin, the timelock, names
 * another.
 */
contract FeeSplitter is AccessControl {
    bytes32 public constant SETTLER_ROLE = keccak256("SETTLER_ROLE");
    address public constant DEAD_ADDRESS = 0x000000000000000000000000000000000000dEaD;
    uint256 private constant DAY_SECONDS = 86_400;

    /// @dev Who is paid: the distributor takes the parts of the model's owner and of the contributors.
    struct Payees {
        address operators;
        address treasury;
        address distributor;
        address stakers;
    }

    /// @dev Sums of `bills` bills of the days that follow the rule of `day` (days since 1970), in wei.
    struct Settlement {
        uint256 day;
        uint256 bills;
        uint256 gross;
        FeeMath.Split booked;
        uint256 operatorClaim;
    }

    Parameters public immutable parameters;
    uint256 public immutable unit;

    Payees public payees;
    /// @dev Platform parts of paid bills that wait for the operators' next claim.
    uint256 public heldWei;

    event Paid(address indexed payer, bytes32 indexed adapterId, bytes32 billHash, uint256 fee, FeeMath.Split parts);
    event Settled(uint256 indexed day, uint256 bills, uint256 gross, FeeMath.Split parts);
    event PlatformPaid(uint256 operatorClaim, uint256 operators, uint256 treasury);
    event PayeesChanged(Payees oldPayees, Payees newPayees);

    error InvalidUnit(uint256 unit);
    error ZeroPayee();
    error NotWholeUnits(uint256 amount, uint256 unit);
    error DayInFuture(uint256 day, uint256 today);
    error InsufficientFees(uint256 available, uint256 gross);
    error PartsDoNotSum(uint256 sum, uint256 gross);
    error OutOfBounds(string payee, uint256 booked, uint256 expected, uint256 tolerance);

    constructor(address admin, address settler, Parameters parameters_, uint256 unit_, Payees memory payees_) {
        if (unit_ == 0) revert InvalidUnit(unit_);
        parameters = parameters_;
        unit = unit_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(SETTLER_ROLE, settler);
        _setPayees(payees_);
    }

    /// @dev Fees of bills that a settlement will divide.
    receive() external payable {}

    /// @dev Splits `msg.value`, one bill for the use of `adapterId`, by today's rule. Anybody may call it.
    function pay(bytes32 adapterId, bytes32 billHash) external payable returns (FeeMath.Split memory parts) {
        parts = quote(today(), msg.value);
        heldWei += parts.platform;
        emit Paid(msg.sender, adapterId, billHash, msg.value, parts);
        _payOut(parts);
    }

    /// @dev Pays out bills whose parts were booked one by one. Everything is checked before the first coin moves.
    function settle(Settlement calldata settlement) external payable onlyRole(SETTLER_ROLE) {
        FeeMath.Split memory booked = settlement.booked;
        uint256 available = address(this).balance - heldWei;
        if (settlement.day > today()) revert DayInFuture(settlement.day, today());
        if (settlement.gross > available) revert InsufficientFees(available, settlement.gross);
        _check(settlement, booked);
        _units(settlement.operatorClaim);
        uint256 platform = heldWei + booked.platform;
        heldWei = 0;
        (uint256 operators, uint256 treasury) = FeeMath.payOperators(platform, settlement.operatorClaim);
        emit Settled(settlement.day, settlement.bills, settlement.gross, booked);
        emit PlatformPaid(settlement.operatorClaim, operators, treasury);
        _send(payees.operators, operators);
        _send(payees.treasury, treasury);
        _payOut(booked);
    }

    function setPayees(Payees calldata newPayees) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _setPayees(newPayees);
    }

    /// @dev What {pay} would do with a bill of `feeWei` under the rule of `day`, in wei.
    function quote(uint256 day, uint256 feeWei) public view returns (FeeMath.Split memory parts) {
        parts = FeeMath.split(_units(feeWei), ruleOn(day));
        parts.platform *= unit;
        parts.burn *= unit;
        parts.model *= unit;
        parts.stakers *= unit;
        parts.contributors *= unit;
    }

    /// @dev The rule for bills of `day`: what was set by the last second of the day before.
    function ruleOn(uint256 day) public view returns (FeeMath.Rule memory rule) {
        uint48 time = SafeCast.toUint48(day * DAY_SECONDS - 1);
        int256[] memory platform = parameters.getAt("fees.platform", time);
        int256[] memory burn = parameters.getAt("fees.burn", time);
        int256[] memory weights = parameters.getAt("fees.split", time);
        if (platform.length > 0) {
            rule.platformBps = ParameterReader.item(platform, "fees.platform", 0);
            rule.platformFlat = ParameterReader.item(platform, "fees.platform", 1);
        }
        if (burn.length > 0) rule.burnBps = ParameterReader.item(burn, "fees.burn", 0);
        rule.modelWeight = ParameterReader.item(weights, "fees.split", 0);
        rule.stakersWeight = ParameterReader.item(weights, "fees.split", 1);
        rule.contributorsWeight = ParameterReader.item(weights, "fees.split", 2);
    }

    /// @dev Days since 1970.
    function today() public view returns (uint256) {
        return block.timestamp / DAY_SECONDS;
    }

    function _check(Settlement calldata settlement, FeeMath.Split memory booked) private view {
        uint256 sum = booked.platform + booked.burn + booked.model + booked.stakers + booked.contributors;
        if (sum != settlement.gross) revert PartsDoNotSum(sum, settlement.gross);
        FeeMath.Split memory units = FeeMath.Split(
            _units(booked.platform),
            _units(booked.burn),
            _units(booked.model),
            _units(booked.stakers),
            _units(booked.contributors)
        );
        FeeMath.Disagreement memory found = FeeMath.firstDisagreement(
            settlement.gross / unit, settlement.bills, ruleOn(settlement.day), units
        );
        if (bytes(found.payee).length > 0) {
            revert OutOfBounds(found.payee, found.booked * unit, found.expected * unit, found.tolerance * unit);
        }
    }

    /// @dev Everything but the platform part.
    function _payOut(FeeMath.Split memory parts) private {
        _send(payees.distributor, parts.model + parts.contributors);
        _send(payees.stakers, parts.stakers);
        _send(DEAD_ADDRESS, parts.burn);
    }

    function _send(address payee, uint256 amount) private {
        if (amount > 0) Address.sendValue(payable(payee), amount);
    }

    function _units(uint256 amountWei) private view returns (uint256) {
        if (amountWei % unit != 0) revert NotWholeUnits(amountWei, unit);
        return amountWei / unit;
    }

    function _setPayees(Payees memory newPayees) private {
        if (
            newPayees.operators == address(0) || newPayees.treasury == address(0)
                || newPayees.distributor == address(0) || newPayees.stakers == address(0)
        ) revert ZeroPayee();
        emit PayeesChanged(payees, newPayees);
        payees = newPayees;
    }
}
