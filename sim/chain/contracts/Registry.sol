// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/**
 * @title Registry of DataNets, models and adapters
 * @dev An entry has an id, an owner and a list of versions; a version is a content hash that never changes. The id is
 * keccak(kind, registrant, name), so nobody can take another's name. Publishing makes the new version the latest;
 * the owner may go back to an older one, and may deprecate one, which then can no longer be the latest. A version of a
 * model or adapter names the DataNets it was trained on: {payees} says whom their use pays. Open to anybody, without
 * an admin.
 *
 * NOTE: content hashes are whatever the publisher says; the node's hash of an adapter covers its weights and its
 * configuration, and with it the base model. The registry remembers who registered a content first, which is evidence
 * in a dispute and no verdict: a copy with one bit changed has another hash.
 *
 * NOTE: versions count from 1; 0 stands for none.
 *
 * WARNING: `trainedOn` is the publisher's claim. Leaving a DataNet out keeps its contributors out of {payees}, and
 * only attribution can show it.
 */
contract Registry {
    enum Kind {
        DataNet,
        Model,
        Adapter
    }

    struct Version {
        bytes32 contentHash;
        uint48 publishedAt;
        bool deprecated;
        bytes32[] trainedOn;
    }

    /// @dev An entry without its versions. `latest` is the version in use, 0 for none.
    struct Entry {
        Kind kind;
        address owner;
        address pendingOwner;
        uint32 latest;
        uint32 versions;
    }

    /// @dev Which version had a content first.
    struct First {
        bytes32 id;
        uint32 version;
    }

    mapping(bytes32 id => Entry) private _entries;
    mapping(bytes32 id => mapping(uint32 number => Version)) private _versions;
    mapping(bytes32 contentHash => First) public firstVersionOf;

    event Registered(bytes32 indexed id, Kind indexed kind, address indexed owner, string name);
    event Published(bytes32 indexed id, uint32 version, bytes32 indexed contentHash, bytes32[] trainedOn);
    event Deprecated(bytes32 indexed id, uint32 version);
    event LatestChanged(bytes32 indexed id, uint32 oldVersion, uint32 newVersion);
    event OwnershipOffered(bytes32 indexed id, address indexed owner, address indexed pendingOwner);
    event OwnershipTransferred(bytes32 indexed id, address indexed oldOwner, address indexed newOwner);

    error EmptyName();
    error AlreadyRegistered(bytes32 id);
    error NotRegistered(bytes32 id);
    error NotOwner(bytes32 id, address caller, address owner);
    error NotPendingOwner(bytes32 id, address caller, address pendingOwner);
    error ZeroContentHash();
    error NoSuchVersion(bytes32 id, uint32 version, uint32 versions);
    error VersionDeprecated(bytes32 id, uint32 version);
    error NotOlder(bytes32 id, uint32 version, uint32 latest);
    error NotADataNet(bytes32 id);
    error DataNetIsNotTrained(bytes32 id);
    error DataNetTwice(bytes32 dataNet);

    modifier onlyOwner(bytes32 id) {
        Entry storage found = _existing(id);
        if (msg.sender != found.owner) revert NotOwner(id, msg.sender, found.owner);
        _;
    }

    /// @dev Creates an entry of the sender with its first version.
    function register(Kind kind, string calldata name, bytes32 contentHash, bytes32[] calldata trainedOn)
        external
        returns (bytes32 id)
    {
        if (bytes(name).length == 0) revert EmptyName();
        id = idOf(kind, msg.sender, name);
        if (_entries[id].owner != address(0)) revert AlreadyRegistered(id);
        _entries[id] = Entry(kind, msg.sender, address(0), 0, 0);
        emit Registered(id, kind, msg.sender, name);
        _publish(id, contentHash, trainedOn);
    }

    /// @dev Adds a version and makes it the latest.
    function publish(bytes32 id, bytes32 contentHash, bytes32[] calldata trainedOn)
        external
        onlyOwner(id)
        returns (uint32 version)
    {
        return _publish(id, contentHash, trainedOn);
    }

    /// @dev Makes an older version the latest again.
    function rollBack(bytes32 id, uint32 version) external onlyOwner(id) {
        uint32 latest_ = _entries[id].latest;
        if (_existingVersion(id, version).deprecated) revert VersionDeprecated(id, version);
        if (version >= latest_) revert NotOlder(id, version, latest_);
        _setLatest(id, version);
    }

    /// @dev Takes a version out of use for good. If it was the latest, the newest older one that is not deprecated
    /// takes its place, or none.
    function deprecate(bytes32 id, uint32 version) external onlyOwner(id) {
        Version storage found = _existingVersion(id, version);
        if (found.deprecated) revert VersionDeprecated(id, version);
        found.deprecated = true;
        emit Deprecated(id, version);
        if (version != _entries[id].latest) return;
        uint32 next = version - 1;
        while (next > 0 && _versions[id][next].deprecated) --next;
        _setLatest(id, next);
    }

    /// @dev Offers the entry to `newOwner`, who has to accept; the zero address takes an offer back.
    function transferOwnership(bytes32 id, address newOwner) external onlyOwner(id) {
        _entries[id].pendingOwner = newOwner;
        emit OwnershipOffered(id, msg.sender, newOwner);
    }

    function acceptOwnership(bytes32 id) external {
        Entry storage found = _existing(id);
        if (msg.sender != found.pendingOwner) revert NotPendingOwner(id, msg.sender, found.pendingOwner);
        emit OwnershipTransferred(id, found.owner, msg.sender);
        found.owner = msg.sender;
        found.pendingOwner = address(0);
    }

    function entryOf(bytes32 id) external view returns (Entry memory) {
        return _existing(id);
    }

    function versionOf(bytes32 id, uint32 number) external view returns (Version memory) {
        return _existingVersion(id, number);
    }

    /// @dev Whom the use of a version pays: the entry's owner, and the DataNets with their owners of today.
    function payees(bytes32 id, uint32 number)
        external
        view
        returns (address owner, bytes32[] memory dataNets, address[] memory dataNetOwners)
    {
        owner = _existing(id).owner;
        dataNets = _existingVersion(id, number).trainedOn;
        dataNetOwners = new address[](dataNets.length);
        for (uint256 i = 0; i < dataNets.length; ++i) {
            dataNetOwners[i] = _entries[dataNets[i]].owner;
        }
    }

    function idOf(Kind kind, address registrant, string calldata name) public pure returns (bytes32) {
        return keccak256(abi.encode(kind, registrant, name));
    }

    function _publish(bytes32 id, bytes32 contentHash, bytes32[] calldata trainedOn) private returns (uint32 number) {
        if (contentHash == 0) revert ZeroContentHash();
        _checkTrainedOn(id, trainedOn);
        number = ++_entries[id].versions;
        _versions[id][number] = Version(contentHash, uint48(block.timestamp), false, trainedOn);
        if (firstVersionOf[contentHash].version == 0) firstVersionOf[contentHash] = First(id, number);
        emit Published(id, number, contentHash, trainedOn);
        _setLatest(id, number);
    }

    /// @dev Every one a DataNet, each once.
    function _checkTrainedOn(bytes32 id, bytes32[] calldata trainedOn) private view {
        if (trainedOn.length > 0 && _entries[id].kind == Kind.DataNet) revert DataNetIsNotTrained(id);
        for (uint256 i = 0; i < trainedOn.length; ++i) {
            Entry storage found = _entries[trainedOn[i]];
            if (found.owner == address(0) || found.kind != Kind.DataNet) revert NotADataNet(trainedOn[i]);
            for (uint256 j = 0; j < i; ++j) {
                if (trainedOn[j] == trainedOn[i]) revert DataNetTwice(trainedOn[i]);
            }
        }
    }

    function _setLatest(bytes32 id, uint32 number) private {
        emit LatestChanged(id, _entries[id].latest, number);
        _entries[id].latest = number;
    }

    function _existing(bytes32 id) private view returns (Entry storage found) {
        found = _entries[id];
        if (found.owner == address(0)) revert NotRegistered(id);
    }

    function _existingVersion(bytes32 id, uint32 number) private view returns (Version storage) {
        uint32 count = _existing(id).versions;
        if (number == 0 || number > count) revert NoSuchVersion(id, number, count);
        return _versions[id][number];
    }
}
