"""Permits, delegations and votes by real signatures: who signed decides, once, on one chain, in time."""

from __future__ import annotations

import pytest

pytest.importorskip("eth")

from eth_keys import keys

from models.governance import ProposalState
from sim.chain.abi import Reverted, encode_values
from sim.chain.addresses import address_of, hex_address, keccak
from sim.chain.clients.gopen import Gopen
from sim.chain.clients.governor import Call, Support
from sim.chain.clients.typed_data import TypedMessage, split_signature
from sim.chain.demo import day0_timestamp, open_spec
from sim.chain.deployment import deploy_all
from sim.chain.evm import Chain

OPEN, DAY = 10**18, 86_400
T0 = day0_timestamp()
KEY, OTHER_KEY = (keys.PrivateKey(keccak(name)) for name in (b"owner", b"other"))
OWNER, OTHER = (key.public_key.to_canonical_address() for key in (KEY, OTHER_KEY))
RELAYER, SPENDER = address_of("relayer"), address_of("spender")


def sign(key, message):
    return key.sign_msg_hash(message.digest).to_bytes()


def new_gopen(chain_id=1_000):
    chain = Chain(chain_id=chain_id, genesis_time=T0, balances={OWNER: 10 * OPEN, OTHER: 10 * OPEN})
    gopen = Gopen.deploy(chain, RELAYER)
    gopen.deposit(OWNER, 4 * OPEN)
    return gopen


@pytest.fixture
def gopen():
    return new_gopen()


def permit(gopen, key=KEY, *, nonce=0, deadline=T0 + DAY, signed_on=None):
    message = (signed_on or gopen).permit_message(OWNER, SPENDER, 3 * OPEN, nonce, deadline)
    return gopen.permit(RELAYER, OWNER, SPENDER, 3 * OPEN, deadline=deadline, signature=sign(key, message))


def test_a_permit_lets_the_spender_move_what_the_owner_signed_for(gopen):
    permit(gopen)
    assert (gopen.allowance(OWNER, SPENDER), gopen.nonce(OWNER)) == (3 * OPEN, 1)
    gopen.transact(SPENDER, "transferFrom", OWNER, SPENDER, 3 * OPEN)
    assert gopen.balance_of(SPENDER) == 3 * OPEN
    with pytest.raises(Reverted, match="ERC20InsufficientAllowance"):
        gopen.transact(SPENDER, "transferFrom", OWNER, SPENDER, 1)


def test_the_domain_is_the_contracts_own(gopen):
    message = gopen.permit_message(OWNER, SPENDER, 1, 0, T0)
    assert message.domain_separator == gopen.read("DOMAIN_SEPARATOR")


def test_a_permit_of_the_wrong_signer_is_refused(gopen):
    with pytest.raises(Reverted) as refused:
        permit(gopen, OTHER_KEY)
    assert refused.value.error == "ERC2612InvalidSigner"
    assert refused.value.arguments == {"signer": OTHER, "owner": OWNER}


def test_a_permit_is_good_in_the_second_of_its_deadline_and_no_longer(gopen):
    permit(gopen, deadline=T0)
    gopen.chain.set_time(T0 + 1)
    with pytest.raises(Reverted) as refused:
        permit(gopen, nonce=1, deadline=T0)
    assert (refused.value.error, refused.value.arguments) == ("ERC2612ExpiredSignature", {"deadline": T0})


def test_a_permit_cannot_be_replayed(gopen):
    permit(gopen)
    with pytest.raises(Reverted, match="ERC2612InvalidSigner"):
        permit(gopen)


def test_a_permit_for_another_chain_or_contract_is_refused(gopen):
    for other in (new_gopen(chain_id=1), Gopen(gopen.chain, address_of("elsewhere"))):
        with pytest.raises(Reverted, match="ERC2612InvalidSigner"):
            permit(gopen, signed_on=other)
    assert gopen.nonce(OWNER) == 0


def test_a_malleable_signature_is_refused(gopen):
    """The other s of the same signature would be a second one for one message."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    v, r, s = split_signature(sign(KEY, gopen.permit_message(OWNER, SPENDER, 1, 0, T0)))
    flipped = (order - int.from_bytes(s, "big")).to_bytes(32, "big")
    with pytest.raises(Reverted, match="ECDSAInvalidSignatureS"):
        gopen.transact(RELAYER, "permit", OWNER, SPENDER, 1, T0, 55 - v, r, flipped)


def test_a_signature_of_another_length_is_refused():
    with pytest.raises(ValueError, match="64 bytes; expected 65"):
        split_signature(bytes(64))


def delegate(gopen, key=KEY, *, nonce=0, expiry=T0 + DAY, signed_on=None):
    message = (signed_on or gopen).delegation_message(SPENDER, nonce, expiry)
    return gopen.delegate_by_sig(RELAYER, SPENDER, nonce=nonce, expiry=expiry, signature=sign(key, message))


def test_delegation_by_signature_moves_the_signers_votes(gopen):
    delegate(gopen)
    assert gopen.delegate_of(OWNER) == SPENDER
    assert (gopen.votes(SPENDER), gopen.delegate_of(RELAYER)) == (4 * OPEN, bytes(20))


def test_a_delegation_speaks_for_nobody_but_its_signer(gopen):
    delegate(gopen, OTHER_KEY)
    assert (gopen.delegate_of(OTHER), gopen.delegate_of(OWNER)) == (SPENDER, bytes(20))
    assert gopen.votes(SPENDER) == 0


def test_an_expired_delegation_is_refused(gopen):
    delegate(gopen, expiry=T0)
    gopen.chain.set_time(T0 + 1)
    with pytest.raises(Reverted) as refused:
        delegate(gopen, nonce=1, expiry=T0)
    assert (refused.value.error, refused.value.arguments) == ("VotesExpiredSignature", {"expiry": T0})


def test_a_replayed_delegation_is_refused(gopen):
    delegate(gopen)
    with pytest.raises(Reverted) as refused:
        delegate(gopen)
    assert refused.value.error == "InvalidAccountNonce"
    assert refused.value.arguments == {"account": OWNER, "currentNonce": 1}


def test_a_delegation_for_another_chain_is_some_other_accounts(gopen):
    """The signature is then that of an unknown key; the owner's votes stay where they are."""
    delegate(gopen, signed_on=new_gopen(chain_id=1))
    assert (gopen.delegate_of(OWNER), gopen.nonce(OWNER), gopen.votes(SPENDER)) == (bytes(20), 0, 0)


def test_permits_and_delegations_use_up_one_nonce(gopen):
    permit(gopen)
    with pytest.raises(Reverted, match="InvalidAccountNonce"):
        delegate(gopen, nonce=0)
    delegate(gopen, nonce=1)
    assert gopen.nonce(OWNER) == 2


def test_a_vote_by_signature_counts_for_its_signer():
    l1 = Chain(chain_id=900_001, genesis_time=T0 - DAY)
    l2 = Chain(chain_id=900_161, genesis_time=T0 - DAY, balances={OWNER: 10**6 * OPEN})
    d = deploy_all(l1, l2, open_spec())
    d.gopen.deposit(OWNER, 10**6 * OPEN)
    d.gopen.delegate(OWNER, OWNER)
    l2.set_time(l2.time + 1)
    number, _ = d.governor.propose(OWNER, (Call(d.timelock.address, b""),), "by signature")
    l2.set_time(l2.time + DAY + 1)
    fields = (
        ("proposalId", "uint256"), ("support", "uint8"), ("voter", "address"), ("nonce", "uint256"),
    )  # fmt: skip
    values = (number, int(Support.FOR), OWNER, 0)
    ballot = TypedMessage("OpenGovernor", l2.chain_id, d.governor.address, "Ballot", fields, values)
    with pytest.raises(Reverted, match="GovernorInvalidSignature"):
        d.governor.transact(RELAYER, "castVoteBySig", number, 1, OWNER, sign(OTHER_KEY, ballot))
    v, r, s = split_signature(sign(KEY, ballot))
    d.governor.transact(RELAYER, "castVoteBySig", number, 1, OWNER, r + s + bytes([v]))
    assert d.governor.tally(number).for_ == 10**6 * OPEN
    assert d.governor.state(number) is ProposalState.ACTIVE


def test_wallets_sign_the_same_digest():
    """The JSON form, signed by an independent implementation, is the signature that the contract takes."""
    account = pytest.importorskip("eth_account").Account.from_key(KEY.to_bytes())
    gopen = new_gopen()
    message = gopen.permit_message(OWNER, SPENDER, 3 * OPEN, 0, T0 + DAY)
    shown = message.as_json()
    assert shown["message"]["owner"] == hex_address(OWNER)
    signature = bytes(account.sign_typed_data(full_message=shown).signature)
    gopen.permit(RELAYER, OWNER, SPENDER, 3 * OPEN, deadline=T0 + DAY, signature=signature)
    assert gopen.allowance(OWNER, SPENDER) == 3 * OPEN


def test_encoding_is_flat():
    message = TypedMessage("N", 1, bytes(20), "T", (("a", "uint256"),), (7,))
    body = keccak(keccak(b"T(uint256 a)") + encode_values(["uint256"], [7]))
    assert message.digest == keccak(b"\x19\x01" + message.domain_separator + body)
