// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/**
 * @title AttributionDistributor, payouts of native OPEN from one Merkle root per epoch
 * @dev A leaf is (account, cumulativeAmount) in OpenZeppelin's `standard-v1` tree: keccak(keccak(abi.encode(leaf))),
 * pairs sorted. A claim pays `cumulativeAmount - claimed[account]`, so one claim collects all epochs and an amount
 * too small to be worth its gas waits for the next root. Each epoch's transaction carries the funds for the rise of
 * the cumulative total.
 *
 * NOTE: the contract cannot see the sum of a root's leaves; it only refuses to pay more than was funded. Posters
 * answer for the leaves, and the log root lets anybody recompute them.
 *
 * WARNING: an amount that falls from one root to the next is never taken back, it only stops further claims until the
 * leaf exceeds what was already claimed.
 */
contract AttributionDistributor is AccessControl {
    bytes32 public constant POSTER_ROLE = keccak256("POSTER_ROLE");

    /// @dev What the latest epoch posted; `total` is the cumulative amount funded so far, in wei.
    struct Epoch {
        uint64 number;
        uint64 logSize;
        bytes32 logRoot;
        bytes32 payoutRoot;
        bytes32 uriHash;
        uint256 total;
    }

    Epoch public latest;
    uint256 public claimedTotal;
    mapping(address account => uint256 amount) public claimed;

    event EpochPosted(
        uint64 indexed number,
        bytes32 indexed payoutRoot,
        bytes32 logRoot,
        uint64 logSize,
        uint256 total,
        bytes32 uriHash
    );
    event Claimed(address indexed account, uint256 amount, uint256 cumulativeAmount);

    error EpochOutOfOrder(uint64 number, uint64 expected);
    error LogShrank(uint64 logSize, uint64 previous);
    error WrongFunding(uint256 value, uint256 total, uint256 previousTotal);
    error InvalidProof(address account, uint256 cumulativeAmount);
    error NothingToClaim(address account, uint256 cumulativeAmount, uint256 alreadyClaimed);
    error ExceedsFunding(uint256 claimedTotal, uint256 total);

    constructor(address admin, address poster) {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(POSTER_ROLE, poster);
    }

    /// @dev Posts epoch `number` (one more than the last). `total` never falls and `msg.value` is exactly its rise.
    function postEpoch(
        uint64 number,
        bytes32 logRoot,
        uint64 logSize,
        bytes32 payoutRoot,
        uint256 total,
        bytes32 uriHash
    ) external payable onlyRole(POSTER_ROLE) {
        if (number != latest.number + 1) revert EpochOutOfOrder(number, latest.number + 1);
        if (logSize < latest.logSize) revert LogShrank(logSize, latest.logSize);
        if (total < latest.total || msg.value != total - latest.total) {
            revert WrongFunding(msg.value, total, latest.total);
        }
        latest = Epoch(number, logSize, logRoot, payoutRoot, uriHash, total);
        emit EpochPosted(number, payoutRoot, logRoot, logSize, total, uriHash);
    }

    /// @dev Pays `account` what its leaf says beyond what it already got. Anybody may call it for anybody.
    function claim(address account, uint256 cumulativeAmount, bytes32[] calldata proof)
        external
        returns (uint256 amount)
    {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(account, cumulativeAmount))));
        if (!MerkleProof.verifyCalldata(proof, latest.payoutRoot, leaf)) {
            revert InvalidProof(account, cumulativeAmount);
        }
        uint256 already = claimed[account];
        if (cumulativeAmount <= already) revert NothingToClaim(account, cumulativeAmount, already);
        amount = cumulativeAmount - already;
        uint256 newTotal = claimedTotal + amount;
        if (newTotal > latest.total) revert ExceedsFunding(newTotal, latest.total);
        claimed[account] = cumulativeAmount;
        claimedTotal = newTotal;
        emit Claimed(account, amount, cumulativeAmount);
        Address.sendValue(payable(account), amount);
    }
}
