"""Keys and quotas: what is stored, what is refused, and when trying again succeeds."""

from __future__ import annotations

import contextlib
import json
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from models.errors import InputError
from reference_node.access import SCOPES, ApiKey, KeyStore, Quota, QuotaExceeded, QuotaLedger
from reference_node.commands.keys import keys_app

DAY = 86_400
UNLIMITED = Quota(None, None, None, None)


class Clock:
    """A clock that the test moves."""

    def __init__(self, now: float = 20_000.0 * DAY) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def key_of(quota: Quota, key_id: str = "a" * 16) -> ApiKey:
    return ApiKey(key_id, "test", "acme", ("inference",), quota, 0)


def test_key_is_shown_once_and_stored_as_a_hash(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json", clock=Clock())
    plain = store.create("laptop", "acme", ["inference", "usage:read"], UNLIMITED)
    key = store.verify(plain)
    assert key is not None
    assert (key.name, key.tenant, key.quota) == ("laptop", "acme", UNLIMITED)
    assert key.allows("inference")
    assert not key.allows("adapters:write")
    text = store.path.read_text()
    secret = plain.split("_", 2)[2]
    assert secret not in text
    assert key.id in text
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_equal_secrets_would_have_different_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: "s" * 43)
    store = KeyStore(tmp_path / "keys.json")
    plains = {store.create("one", "acme"), store.create("two", "acme")}
    rows = json.loads(store.path.read_text())["keys"]
    assert rows[0]["digest"] != rows[1]["digest"]
    assert {store.verify(plain).name for plain in plains} == {"one", "two"}


def test_wrong_secrets_open_nothing(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    plain = store.create("a", "acme")
    other = store.create("b", "acme")
    swapped = "_".join((*plain.split("_")[:2], other.split("_", 2)[2]))
    flipped = plain[:-2] + ("A" if plain[-2] != "A" else "B") + plain[-1]
    for wrong in ("", "olk_", plain[:-1], plain + "x", flipped, swapped, "olk_" + "0" * 16 + "_" + "x" * 43):
        assert store.verify(wrong) is None


def test_admin_includes_every_scope(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key = store.verify(store.create("root", "acme", ["admin"]))
    assert all(key.allows(scope) for scope in SCOPES)


def test_revocation_reaches_another_process_at_once(tmp_path: Path) -> None:
    server, command_line = KeyStore(tmp_path / "keys.json"), KeyStore(tmp_path / "keys.json")
    plain = command_line.create("a", "acme")
    key = server.verify(plain)
    first = command_line.revoke(key.id)
    assert server.verify(plain) is None
    assert command_line.revoke(key.id) == first
    assert [k.revoked_ms for k in server.listing()] == [first.revoked_ms]


def test_keys_survive_a_restart(tmp_path: Path) -> None:
    plain = KeyStore(tmp_path / "keys.json").create("a", "acme", ["admin"], Quota(5, 6, 7, 8))
    key = KeyStore(tmp_path / "keys.json").verify(plain)
    assert (key.quota, key.scopes) == (Quota(5, 6, 7, 8), ("admin",))


def test_many_threads_and_stores_lose_no_key(tmp_path: Path) -> None:
    stores = [KeyStore(tmp_path / "keys.json") for _ in range(2)]
    threads = [threading.Thread(target=lambda i=i: stores[i % 2].create(f"k{i}", "acme")) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(k.name for k in stores[0].listing()) == sorted(f"k{i}" for i in range(12))


def test_bad_names_are_refused_together(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        KeyStore(tmp_path / "keys.json").create("", "Not A Tenant", ["everything"])
    paths = [problem.path for problem in refused.value.problems]
    assert paths == ["name", "tenant", "scopes"]
    assert "allowed one or more of inference" in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', '{"schema": 1, "keys": [{}]}'])
def test_a_damaged_key_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not a key file"):
        KeyStore(path)


def test_bad_quotas_are_refused_together() -> None:
    with pytest.raises(InputError) as refused:
        Quota(0, -1, True, -1)  # type: ignore[arg-type]
    assert len(refused.value.problems) == 4


def test_request_rate_is_a_bucket_of_one_minute() -> None:
    clock = Clock()
    ledger, key = QuotaLedger(clock), key_of(Quota(requests_per_minute=6, concurrent=None))
    for _ in range(6):
        ledger.admit(key, 1)
    with pytest.raises(QuotaExceeded) as refused:
        ledger.admit(key, 1)
    assert refused.value.limit == "requests_per_minute"
    assert refused.value.retry_after_s == pytest.approx(10, abs=0.01)
    clock.now += refused.value.retry_after_s
    ledger.admit(key, 1)
    clock.now += 3600
    for _ in range(6):
        ledger.admit(key, 1)
    with pytest.raises(QuotaExceeded):
        ledger.admit(key, 1)


def test_tokens_of_a_day_come_back_when_unused_and_at_midnight() -> None:
    clock = Clock()
    ledger, key = QuotaLedger(clock), key_of(Quota(None, 100, None, None))
    clock.now += DAY - 60
    first = ledger.admit(key, 80)
    with pytest.raises(QuotaExceeded, match="20 of the day's 100 are left") as refused:
        ledger.admit(key, 21)
    assert refused.value.retry_after_s == 60
    ledger.release(first, 30)
    ledger.release(first, 30)
    assert ledger.tokens_today(key) == 30
    late = ledger.admit(key, 70)
    clock.now += refused.value.retry_after_s
    ledger.admit(key, 100)
    ledger.release(late, 0)
    assert ledger.tokens_today(key) == 100
    with pytest.raises(QuotaExceeded, match="more than the quota of 100 a day") as never:
        ledger.admit(key, 101)
    assert never.value.retry_after_s is None


def test_a_restart_gives_no_second_day() -> None:
    ledger = QuotaLedger(Clock(), spent_today={"a" * 16: 90}.__getitem__)
    with pytest.raises(QuotaExceeded, match="10 of the day's 100 are left"):
        ledger.admit(key_of(Quota(tokens_per_day=100)), 11)


def test_requests_in_flight_are_bounded() -> None:
    ledger, key = QuotaLedger(Clock()), key_of(Quota(concurrent=2))
    held = [ledger.admit(key, 1) for _ in range(2)]
    with pytest.raises(QuotaExceeded, match="2 requests are in flight") as refused:
        ledger.admit(key, 1)
    assert refused.value.retry_after_s > 0
    ledger.admit(key_of(Quota(concurrent=2), "b" * 16), 1)
    ledger.release(held[0], 1)
    ledger.admit(key, 1)


def test_a_refusal_sets_nothing_aside() -> None:
    ledger, key = QuotaLedger(Clock()), key_of(Quota(1, 100, 5, None))
    ledger.admit(key, 10)
    with pytest.raises(QuotaExceeded, match="1 requests per minute"):
        ledger.admit(key, 10)
    assert ledger.tokens_today(key) == 10


def test_stored_bytes() -> None:
    ledger, key = QuotaLedger(Clock()), key_of(Quota(stored_bytes=100))
    ledger.check_stored(key, 60, 40)
    with pytest.raises(QuotaExceeded, match="quota of 100") as refused:
        ledger.check_stored(key, 60, 41)
    assert refused.value.retry_after_s is None


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), max_size=40))
def test_a_day_never_passes_its_limit(requests: list[tuple[int, int]]) -> None:
    ledger, key, used = QuotaLedger(Clock()), key_of(Quota(None, 200, None, None)), 0
    for reserved, wanted in requests:
        try:
            held = ledger.admit(key, reserved)
        except QuotaExceeded:
            continue
        ledger.release(held, min(wanted, reserved))
        used += min(wanted, reserved)
    assert used == ledger.tokens_today(key) <= 200


def test_threads_share_one_limit() -> None:
    ledger, key, admitted = QuotaLedger(Clock()), key_of(Quota(50, None, None, None)), []

    def work() -> None:
        for _ in range(20):
            with contextlib.suppress(QuotaExceeded):
                admitted.append(ledger.admit(key, 1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 50


def test_commands(tmp_path: Path) -> None:
    runner, file = CliRunner(), str(tmp_path / "keys.json")
    made = runner.invoke(
        keys_app,
        [
            "create",
            "ci",
            "--keys",
            file,
            "--tenant",
            "acme",
            "--scope",
            "admin",
            "--stored-bytes",
            "0",
            "--json",
        ],
    )
    document = json.loads(made.stdout)
    key = KeyStore(Path(file)).verify(document["key"])
    assert (key.id, key.scopes, key.quota.stored_bytes) == (document["id"], ("admin",), None)
    listed = runner.invoke(keys_app, ["list", "--keys", file])
    assert "ci" in listed.stdout
    assert document["key"] not in listed.stdout
    assert "revoked" in runner.invoke(keys_app, ["revoke", key.id, "--keys", file]).stdout
    state = json.loads(runner.invoke(keys_app, ["list", "--keys", file, "--json"]).stdout)
    assert state["keys"][0]["revoked_ms"] > 0
    missing = runner.invoke(keys_app, ["list", "--keys", str(tmp_path / "other.json")])
    assert isinstance(missing.exception, InputError)
