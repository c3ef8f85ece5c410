// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/**
 * @title FeeMath, the reward formula
 * @dev Amounts are whole units of the ledger. The platform's part (a share and a flat amount, together never more than
 * the bill) comes off first, then the burned share of the net fee; the rest is divided by whole weights, each by
 * floor, and the contributors get what the floors leave over. Equal to `split_reference` and `split_bounds` of
 * `models/fees.py` in every unit.
 *
 * NOTE: floors belong to single bills. Of a sum of bills only bounds can be checked: n floors are together less than n
 * units below the formula on the sum.
 */
library FeeMath {
    uint256 internal constant BPS = 10_000;

    /// @dev How bills are split: shares in basis points, a flat amount in units, weights of the net fee.
    struct Rule {
        uint256 platformBps;
        uint256 platformFlat;
        uint256 burnBps;
        uint256 modelWeight;
        uint256 stakersWeight;
        uint256 contributorsWeight;
    }

    /// @dev Parts of one bill or of a sum of bills; together they are the fee.
    struct Split {
        uint256 platform;
        uint256 burn;
        uint256 model;
        uint256 stakers;
        uint256 contributors;
    }

    /// @dev A payee that got what no split can have given it; `payee` is empty where there is none.
    struct Disagreement {
        string payee;
        uint256 booked;
        uint256 expected;
        uint256 tolerance;
    }

    error ShareAboveWhole(uint256 platformBps, uint256 burnBps, uint256 wholeBps);
    error NoWeight();

    /// @dev Splits one bill of `fee` units.
    function split(uint256 fee, Rule memory rule) internal pure returns (Split memory parts) {
        uint256 whole = checkedWeights(rule);
        parts.platform = fee * rule.platformBps / BPS + rule.platformFlat;
        if (parts.platform > fee) parts.platform = fee;
        uint256 net = fee - parts.platform;
        parts.burn = net * rule.burnBps / BPS;
        uint256 divided = net - parts.burn;
        parts.model = divided * rule.modelWeight / whole;
        parts.stakers = divided * rule.stakersWeight / whole;
        parts.contributors = divided - parts.model - parts.stakers;
    }

    /// @dev First payee of `booked` that no split of `bills` bills with the sum `gross` can have given its part.
    /// The platform and the burned part may not exceed `gross` together.
    function firstDisagreement(uint256 gross, uint256 bills, Rule memory rule, Split memory booked)
        internal
        pure
        returns (Disagreement memory)
    {
        uint256 whole = checkedWeights(rule);
        uint256 share = gross * rule.platformBps / BPS;
        // small bills cut a flat part, so it is bounded by the share alone and by the flat part of every bill
        uint256 least = share > bills ? share - bills : 0;
        uint256 most = share + bills * rule.platformFlat;
        if (booked.platform < least) return Disagreement("platform", booked.platform, least, 0);
        if (booked.platform > most) return Disagreement("platform", booked.platform, most, 0);
        uint256 net = gross - booked.platform;
        uint256 expected = net * rule.burnBps / BPS;
        if (_apart(booked.burn, expected) > bills) return Disagreement("burn", booked.burn, expected, bills);
        uint256 divided = net - booked.burn;
        expected = divided * rule.modelWeight / whole;
        if (_apart(booked.model, expected) > bills) return Disagreement("model", booked.model, expected, bills);
        expected = divided * rule.stakersWeight / whole;
        if (_apart(booked.stakers, expected) > bills) {
            return Disagreement("stakers", booked.stakers, expected, bills);
        }
        expected = divided * rule.contributorsWeight / whole;
        if (_apart(booked.contributors, expected) > 3 * bills) {
            return Disagreement("contributors", booked.contributors, expected, 3 * bills);
        }
        return Disagreement("", 0, 0, 0);
    }

    /// @dev Divides the platform part between the operators, up to their claim, and the treasury.
    function payOperators(uint256 platform, uint256 claim)
        internal
        pure
        returns (uint256 operators, uint256 treasury)
    {
        operators = claim < platform ? claim : platform;
        treasury = platform - operators;
    }

    /// @dev The weights' sum; refuses a rule that divides nothing or takes more than the whole.
    function checkedWeights(Rule memory rule) internal pure returns (uint256 whole) {
        if (rule.platformBps > BPS || rule.burnBps > BPS) {
            revert ShareAboveWhole(rule.platformBps, rule.burnBps, BPS);
        }
        whole = rule.modelWeight + rule.stakersWeight + rule.contributorsWeight;
        if (whole == 0) revert NoWeight();
    }

    function _apart(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a - b : b - a;
    }
}
