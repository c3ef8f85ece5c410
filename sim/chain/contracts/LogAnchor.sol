// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";

/**
 * @title LogAnchor, the heads of the attribution log
 * @dev Append-only: every head (root, size) names the root before it, sizes never fall, and one size has one root. So
 * two versions of the log's history cannot both be anchored, and what was anchored stays readable by number. The root
 * is that of RFC 9162 (`models/merkle.py`); the first head follows the root 0.
 *
 * NOTE: a head of the same size and root may be anchored again; it says that the log did not grow since.
 *
 * NOTE: that an entry is in the log is shown to anybody, contracts among them, by `includes`.
 *
 * WARNING: the contract sees roots, not entries. That a head extends the one before it, nothing altered or left out,
 * is shown by a consistency proof between their sizes, which auditors have to ask the log for.
 */
contract LogAnchor is AccessControl {
    bytes32 public constant POSTER_ROLE = keccak256("POSTER_ROLE");

    /// @dev Root of the first `size` entries, and the second at which it was anchored.
    struct Head {
        bytes32 root;
        uint64 size;
        uint48 anchoredAt;
    }

    Head[] private _heads;

    event Anchored(uint256 indexed index, bytes32 indexed root, uint64 size, bytes32 previousRoot);

    error ZeroRoot();
    error LogShrank(uint64 size, uint64 previous);
    error WrongPreviousRoot(bytes32 previousRoot, bytes32 expected);
    error OtherRootOfSameSize(uint64 size, bytes32 root, bytes32 anchored);
    error NoSuchHead(uint256 index, uint256 count);

    constructor(address admin, address poster) {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(POSTER_ROLE, poster);
    }

    /// @dev Appends a head that follows `previousRoot`, the latest one's root; returns its number.
    function anchor(bytes32 root, uint64 size, bytes32 previousRoot)
        external
        onlyRole(POSTER_ROLE)
        returns (uint256 index)
    {
        if (root == 0) revert ZeroRoot();
        index = _heads.length;
        Head memory latest_;
        if (index > 0) latest_ = _heads[index - 1];
        if (previousRoot != latest_.root) revert WrongPreviousRoot(previousRoot, latest_.root);
        if (size < latest_.size) revert LogShrank(size, latest_.size);
        if (index > 0 && size == latest_.size && root != latest_.root) {
            revert OtherRootOfSameSize(size, root, latest_.root);
        }
        _heads.push(Head(root, size, uint48(block.timestamp)));
        emit Anchored(index, root, size, previousRoot);
    }

    function headCount() external view returns (uint256) {
        return _heads.length;
    }

    /// @dev Head number `index`, from 0.
    function head(uint256 index) public view returns (Head memory) {
        if (index >= _heads.length) revert NoSuchHead(index, _heads.length);
        return _heads[index];
    }

    /// @dev The latest head; all zeros before the first.
    function latest() external view returns (Head memory empty) {
        return _heads.length == 0 ? empty : head(_heads.length - 1);
    }

    /**
     * @dev Whether `record` is entry number `index`, from 0, of the log under head `headIndex`: RFC 9162, 2.1.3.2, as
     * `models/merkle.py` has it. A leaf is hashed behind 0x00 and a node behind 0x01, so neither passes for the other.
     * `path` has the siblings from the leaf upwards; one of another length than the tree's gives false.
     */
    function includes(uint256 headIndex, bytes calldata record, uint64 index, bytes32[] calldata path)
        external
        view
        returns (bool)
    {
        Head memory head_ = head(headIndex);
        if (index >= head_.size) return false;
        uint64 first = index;
        uint64 last = head_.size - 1;
        bytes32 node = sha256(bytes.concat(hex"00", record));
        for (uint256 i = 0; i < path.length; ++i) {
            if (last == 0) return false;
            if (first & 1 == 1 || first == last) {
                node = sha256(bytes.concat(hex"01", path[i], node));
                while (first != 0 && first & 1 == 0) (first, last) = (first >> 1, last >> 1);
            } else {
                node = sha256(bytes.concat(hex"01", node, path[i]));
            }
            (first, last) = (first >> 1, last >> 1);
        }
        return last == 0 && node == head_.root;
    }
}
