// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Parameters} from "./Parameters.sol";
import {ParameterReader} from "./parts/ParameterReader.sol";
import {StakePositions} from "./parts/StakePositions.sol";

/**
 * @title Staking of native OPEN: positions and rewards ({StakePositions}), slashing and disputes
 * @dev A slash takes floor(stake * attribution.slash.duplicate / 10^4) of each position, once per offence (`slashed` of
 * models/attribution.py). It is burned and paid to the challenger by the shares set; the rest is the treasury's, and
 * the challenger's part too where nobody disputed. A dispute over an offence has a bond: it goes back to a challenger
 * who is right, and to the accused otherwise.
 *
 * NOTE: challenger and accused are paid with little gas; what they refuse goes to the treasury, so that nobody can
 * stop a slash by refusing coins.
 *
 * WARNING: stake that is unbonding is out of reach of a slash, as in the model: an offender who sees the accusation
 * coming escapes by unbonding.
 *
 * WARNING: slasher and arbiter are trusted to be right; what they can take is bounded by the share that was voted. An
 * arbiter that never decides keeps a bond locked until the admin, the timelock, names another.
 */
contract Staking is StakePositions {
    bytes32 public constant SLASHER_ROLE = keccak256("SLASHER_ROLE");
    bytes32 public constant ARBITER_ROLE = keccak256("ARBITER_ROLE");
    address public constant DEAD_ADDRESS = 0x000000000000000000000000000000000000dEaD;
    uint256 private constant BPS = 10_000;
    uint256 private constant PAYEE_GAS = 50_000;

    /// @dev A challenger's bond; the challenger is zero once it was decided.
    struct Dispute {
        address challenger;
        address accused;
        bytes32 offence;
        uint256 bondWei;
    }

    /// @dev First holders of the roles.
    struct Officers {
        address rewarder;
        address slasher;
        address arbiter;
    }

    address public immutable treasury;

    uint16 public burnBps;
    uint16 public challengerBps;

    Dispute[] private _disputes;
    mapping(bytes32 caseId => uint256 numberPlusOne) private _openDispute;
    mapping(bytes32 caseId => bool) private _slashed;

    event Slashed(
        address indexed accused,
        bytes32 indexed offence,
        uint256 burned,
        uint256 challenger,
        uint256 treasury
    );
    event DisputeOpened(
        uint256 indexed dispute,
        address indexed challenger,
        address indexed accused,
        bytes32 offence,
        uint256 bond
    );
    event DisputeDecided(uint256 indexed dispute, bool upheld);
    event PaymentRefused(address indexed payee, uint256 amount);
    event SlashPartsChanged(uint16 burnBps, uint16 challengerBps);

    error AlreadySlashed(address accused, bytes32 offence);
    error DisputeIsOpen(uint256 dispute);
    error PartsAboveWhole(uint256 burnBps, uint256 challengerBps);

    constructor(
        address admin,
        Officers memory officers,
        Parameters parameters_,
        address treasury_,
        uint256 unit_,
        uint256 minStakeWei_,
        uint16 burnBps_,
        uint16 challengerBps_
    ) StakePositions(parameters_, unit_, minStakeWei_) {
        treasury = treasury_;
        _setSlashParts(burnBps_, challengerBps_);
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(REWARDER_ROLE, officers.rewarder);
        _grantRole(SLASHER_ROLE, officers.slasher);
        _grantRole(ARBITER_ROLE, officers.arbiter);
    }

    /// @dev Slashes all positions of `accused` for an offence that was found without or before a dispute's decision.
    function slash(address accused, bytes32 offence) external nonReentrant onlyRole(SLASHER_ROLE) {
        if (_slashed[caseId(accused, offence)]) revert AlreadySlashed(accused, offence);
        _slash(accused, offence);
    }

    /// @dev Opens a dispute with `msg.value` as bond; one at a time over an offence.
    function openDispute(address accused, bytes32 offence) external payable returns (uint256 number) {
        _checkAmount(msg.value);
        bytes32 id = caseId(accused, offence);
        if (_slashed[id]) revert AlreadySlashed(accused, offence);
        if (_openDispute[id] != 0) revert DisputeIsOpen(_openDispute[id] - 1);
        number = _disputes.length;
        _disputes.push(Dispute(msg.sender, accused, offence, msg.value));
        _openDispute[id] = number + 1;
        totalBonds += msg.value;
        emit DisputeOpened(number, msg.sender, accused, offence, msg.value);
    }

    /// @dev Decides a dispute: slashes the accused and gives the bond back, or gives the bond to the accused. An
    /// offence that was slashed meanwhile is upheld whatever `upheld` says, and not slashed again.
    function decide(uint256 number, bool upheld) external nonReentrant onlyRole(ARBITER_ROLE) {
        Dispute memory found = dispute(number);
        if (found.challenger == address(0)) revert AlreadyDone(number);
        bytes32 id = caseId(found.accused, found.offence);
        bool done = _slashed[id];
        if (upheld && !done) _slash(found.accused, found.offence);
        delete _openDispute[id];
        _disputes[number].challenger = address(0);
        totalBonds -= found.bondWei;
        emit DisputeDecided(number, upheld || done);
        _payOrTreasury(upheld || done ? found.challenger : found.accused, found.bondWei);
    }

    function setSlashParts(uint16 burnBps_, uint16 challengerBps_) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _setSlashParts(burnBps_, challengerBps_);
    }

    function caseId(address accused, bytes32 offence) public pure returns (bytes32) {
        return keccak256(abi.encode(accused, offence));
    }

    function dispute(uint256 number) public view returns (Dispute memory) {
        if (number >= _disputes.length) revert NoSuchNumber(number, _disputes.length);
        return _disputes[number];
    }

    /// @dev Takes the part of every position and pays it out; the challenger is who has a dispute open.
    function _slash(address accused, bytes32 offence) private {
        bytes32 id = caseId(accused, offence);
        _slashed[id] = true;
        uint256 bps = ParameterReader.latest(parameters, "attribution.slash.duplicate", 0);
        if (bps > BPS) revert PartsAboveWhole(bps, 0);
        uint256 units = _take(accused, Lock.Flexible, bps) + _take(accused, Lock.Long, bps);
        uint256 burned = units * burnBps / BPS * unit;
        uint256 rewarded = _openDispute[id] == 0 ? 0 : units * challengerBps / BPS * unit;
        uint256 rest = units * unit - burned - rewarded;
        emit Slashed(accused, offence, burned, rewarded, rest);
        if (rewarded > 0) _payOrTreasury(_disputes[_openDispute[id] - 1].challenger, rewarded);
        if (burned > 0) Address.sendValue(payable(DEAD_ADDRESS), burned);
        if (rest > 0) Address.sendValue(payable(treasury), rest);
    }

    function _payOrTreasury(address payee, uint256 amount) private {
        (bool paid,) = payee.call{value: amount, gas: PAYEE_GAS}("");
        if (paid) return;
        emit PaymentRefused(payee, amount);
        Address.sendValue(payable(treasury), amount);
    }

    function _setSlashParts(uint16 burnBps_, uint16 challengerBps_) private {
        if (uint256(burnBps_) + challengerBps_ > BPS) revert PartsAboveWhole(burnBps_, challengerBps_);
        burnBps = burnBps_;
        challengerBps = challengerBps_;
        emit SlashPartsChanged(burnBps_, challengerBps_);
    }
}
