// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";

/**
 * @title GOPEN, the vote token on L2
 * @dev Wraps the native coin (OPEN on L2) one to one, without delay in either direction:
 * `totalSupply() == address(this).balance` as long as coins arrive through {deposit} or a plain transfer.
 * Votes are checkpointed by timestamp, not by block number.
 *
 * NOTE: undelegated GOPEN counts in the supply, hence in the quorum, and cannot vote. Supply and votes are read at a
 * proposal's snapshot: wrapping or delegating after it changes nothing for that proposal.
 *
 * WARNING: coins forced in (a block reward, a selfdestruct) are not represented by GOPEN and cannot be taken out.
 */
contract GOPEN is ERC20, ERC20Permit, ERC20Votes {
    event Deposit(address indexed account, uint256 amount);
    event Withdrawal(address indexed account, uint256 amount);

    constructor() ERC20("Governance OPEN", "GOPEN") ERC20Permit("Governance OPEN") {}

    receive() external payable {
        deposit();
    }

    /// @dev Mints `msg.value` GOPEN to the sender.
    function deposit() public payable {
        _mint(msg.sender, msg.value);
        emit Deposit(msg.sender, msg.value);
    }

    /// @dev Burns `amount` GOPEN of the sender, then pays `amount` native coins. The burn comes first, so a
    /// receiver that calls back finds its balance already lowered.
    function withdraw(uint256 amount) external {
        _burn(msg.sender, amount);
        emit Withdrawal(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
    }

    function clock() public view override returns (uint48) {
        return Time.timestamp();
    }

    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    function _update(address from, address to, uint256 amount) internal override(ERC20, ERC20Votes) {
        super._update(from, to, amount);
    }

    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }
}
