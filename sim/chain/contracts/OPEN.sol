// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";

/**
 * @title OPEN, the token on L1
 * @dev The whole supply is minted once, in the constructor, and there is no mint function: the cap holds by
 * construction. Burning lowers `totalSupply`; nothing raises it again. 18 decimals; OPEN itself has a cap of 10^27.
 *
 * NOTE: name and symbol stay at 32 bytes or fewer, because the OP Stack's SystemConfig stores the gas token's name
 * and symbol in one word each.
 *
 * WARNING: a tax on transfers would break the bridge (deposits revert) and the 1:1 backing of the native coin.
 */
contract OPEN is ERC20, ERC20Burnable {
    /// @dev The supply at genesis, in wei. `totalSupply() + burned == cap` always.
    uint256 public immutable cap;

    error ZeroCap();
    error NameTooLong(string value, uint256 maxBytes);

    constructor(string memory name_, string memory symbol_, uint256 cap_, address holder) ERC20(name_, symbol_) {
        if (cap_ == 0) revert ZeroCap();
        if (bytes(name_).length > 32) revert NameTooLong(name_, 32);
        if (bytes(symbol_).length > 32) revert NameTooLong(symbol_, 32);
        cap = cap_;
        _mint(holder, cap_);
    }
}
