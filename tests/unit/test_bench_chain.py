"""The bench of the chain: its format, what every engine is asked to do, verdicts, and what makes a replay honest."""

from __future__ import annotations

import json
import sys

import pytest
import typer

pytest.importorskip("eth")

from sim import cli
from sim.bench import Figure, document, table
from sim.chain.bench import eth_tester_peer, growth, mix, titanoboa_peer
from sim.chain.bench.engines import engine_figures
from sim.chain.bench.ours import OurEngine, OurEngineAlone
from sim.chain.bench.scene import ACCOUNTS, COIN, KINDS, Call, Scene
from sim.chain.bench.timing import interleaved, ratio

FAKE_BOA = """
class Computation:
    is_error = False

class Env:
    timestamp = 0
    def __init__(self):
        self.made = 0
    def set_balance(self, account, wei):
        pass
    def deploy(self, sender, bytecode):
        self.made += 1
        return "0x" + f"{self.made:040x}", Computation()
    def execute_code(self, to_address, sender, data, value):
        found = Computation()
        found.is_error = data == b"\\\\xba\\\\xad"
        return found
"""


class TestFormat:
    @pytest.mark.parametrize(
        ("value", "better", "bar", "ok"),
        [(6.0, "higher", 6.0, True), (5.9, "higher", 6.0, False), (1.3, "lower", 1.3, True), (1.4, "lower", 1.3, False),
         (None, "higher", 6.0, None), (2.0, "higher", None, None)],
    )  # fmt: skip
    def test_verdict(self, value, better, bar, ok):
        assert Figure("x", value, "ratio", better, bar).ok is ok

    def test_document(self):
        made = document("chain", [Figure("x", 2.0, "ratio", detail={"samples_ms": [1.0]})])
        assert json.loads(json.dumps(made)) == made
        assert made["bench"] == "chain"
        assert set(made["machine"]) == {"processor", "cores", "python", "load_1m"}
        assert len(made["code_version"]) == 12
        assert made["figures"] == [
            {"id": "x", "value": 2.0, "unit": "ratio", "better": "higher", "bar": None, "ok": None,
             "detail": {"samples_ms": [1.0]}}
        ]  # fmt: skip

    def test_table_says_how_to_install_what_is_missing(self):
        text = table([Figure("a.x_peer", None, "ratio", detail={"install": "pip install peer"}),
                      Figure("b", 1_234.5, "tx/s", "higher", 2_000)])  # fmt: skip
        assert "pip install peer" in text
        assert "1,234.50" in text
        assert "NO" in text

    def test_rounds_are_interleaved_and_the_first_is_dropped(self):
        order = []
        steps = {
            name: (lambda number, name=name: order.append((name, number)) or len(order)) for name in "ab"
        }
        samples = interleaved(steps, 2)
        assert order == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
        assert samples == {"a": [4, 5], "b": [3, 6]}
        assert ratio(samples, "b", "a") == pytest.approx((3 / 4 + 6 / 5) / 2)


class TestScene:
    @pytest.mark.parametrize("engine", [OurEngine, OurEngineAlone])
    def test_every_call_does_what_its_kind_says(self, engine):
        scene = Scene(engine(), 1)
        for number in (0, 1):
            assert all(scene.step(kind, number) > 0 for kind in KINDS)
        chain = scene.engine.chain
        token, governor, distributor = (
            scene.engine._clients[name] for name in ("OPEN", "OpenGovernor", "AttributionDistributor")
        )
        assert token.read("balanceOf", scene.engine.accounts[3]) == 10**6 * COIN  # gave what it got
        assert [governor.read("proposalVotes", number)[1] for number in scene._proposals] == [
            ACCOUNTS * 10 * COIN
        ] * 2
        assert distributor.read("claimedTotal") == 2 * ACCOUNTS * COIN
        assert all(receipt.status for receipt in chain.receipts)

    def test_a_refused_call_is_no_fast_call(self):
        engine = OurEngineAlone()
        Scene(engine, 0)
        with pytest.raises(RuntimeError, match="was refused"):
            engine.run([Call(0, "OPEN", "transfer", (engine.accounts[1], 10**30))])

    @pytest.mark.slow
    @pytest.mark.chain
    def test_eth_tester_does_the_same(self):
        pytest.importorskip("eth_tester")
        scene = Scene(eth_tester_peer.EthTesterEngine(), 0)
        assert all(scene.step(kind, 0) > 0 for kind in KINDS)
        contracts = scene.engine._contracts
        assert contracts["AttributionDistributor"].functions.claimedTotal().call() == ACCOUNTS * COIN
        assert (
            contracts["OpenGovernor"].functions.proposalVotes(scene._proposals[0]).call()[1]
            == ACCOUNTS * 10 * COIN
        )
        with pytest.raises(Exception, match=r"."):
            scene.step("vote", 0)


class TestTitanoboa:
    @pytest.fixture
    def fake(self, tmp_path, monkeypatch):
        (tmp_path / "boa").mkdir()
        (tmp_path / "boa" / "__init__.py").write_text("")
        (tmp_path / "boa" / "environment.py").write_text(FAKE_BOA.replace("\\\\", "\\"))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("OLSIM_TITANOBOA", sys.executable)

    def test_it_runs_in_a_process_of_its_own(self, fake):
        with titanoboa_peer.TitanoboaEngine(titanoboa_peer.find_python()) as engine:
            scene = Scene(engine, 0)
            assert all(scene.step(kind, 0) > 0 for kind in KINDS)

    def test_an_environment_without_it(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("OLSIM_TITANOBOA", raising=False)
        assert titanoboa_peer.find_python() is None
        monkeypatch.setenv("OLSIM_TITANOBOA", sys.executable)
        monkeypatch.setenv("PYTHONPATH", "")
        assert titanoboa_peer.find_python() is None

    def test_a_process_that_ended(self, fake):
        engine = titanoboa_peer.TitanoboaEngine(titanoboa_peer.find_python())
        with engine:
            engine._process.kill()
            engine._process.wait()
            with pytest.raises(RuntimeError, match="titanoboa's process ended"):
                engine.jump(1)


def test_peers_that_are_missing_have_no_value(monkeypatch):
    monkeypatch.setattr(eth_tester_peer, "installed", lambda: False)
    monkeypatch.setattr(titanoboa_peer, "find_python", lambda: None)
    figures = engine_figures(lambda text: None, rounds=1)
    assert [figure.id for figure in figures] == [
        f"{kind}.x_{peer}" for peer in ("eth_tester", "titanoboa") for kind in ("transfer", "vote", "claim")
    ]
    assert {figure.value for figure in figures} == {None}
    assert all("install" in figure.detail["install"] for figure in figures)
    assert {figure.ok for figure in figures} == {None}


@pytest.mark.slow
def test_growth(monkeypatch):
    for name, value in (("BLOCKS", 200), ("ROUNDS", 2), ("CALLS", 5)):
        monkeypatch.setattr(growth, name, value)
    figures = growth.growth_figures(lambda text: None)
    assert [figure.id for figure in figures] == [
        "logs_10k_blocks_ms", "tx_cost_growth.10k_blocks", "tx_cost_growth.10k_sealed_blocks",
    ]  # fmt: skip
    assert all(figure.value > 0 for figure in figures)
    assert figures[1].detail["blocks"][0] > figures[1].detail["blocks"][1] > 100 > figures[0].value


@pytest.mark.slow
def test_mix_is_the_witness_runs_own(monkeypatch, root):
    """The replay reaches the roots that the run's outputs claim; `Replay` raises where it does not."""
    monkeypatch.setattr(mix, "AGENTS", 120)
    monkeypatch.setattr(mix, "ROUNDS", 1)
    rate, share = mix.mix_figures(root / "scenarios" / "baseline.yaml", 40, lambda text: None)
    assert (rate.id, rate.unit, share.id) == ("witness_mix_per_s", "tx/s", "witness_run.over_mix")
    assert rate.detail["transactions"] > 300
    assert rate.detail["kinds"]["L2OutputOracle (L1): OutputProposed"] >= 35
    assert share.value > 0


class TestCommand:
    def run(self, *words):
        with pytest.raises(SystemExit) as left:
            raise SystemExit(
                cli.run(lambda: typer.main.get_command(cli.app).main(["bench", "chain", *words], "olsim"))
            )
        return left.value.code

    def test_bad_input(self, capsys):
        assert self.run("--witness-days", "3") == 2
        assert "--witness-days 3: expected 31 to 3650" in capsys.readouterr().err
        assert self.run("--scenario", "nowhere.yaml") == 2
        assert "nowhere.yaml: no such scenario" in capsys.readouterr().err

    @pytest.mark.parametrize(("value", "code"), [(7.0, 0), (1.0, 1)])
    def test_one_json_object_and_an_exit_code(self, monkeypatch, capsys, root, value, code):
        figures = [Figure("transfer.x_eth_tester", value, "ratio", "higher", 6.0)]
        monkeypatch.setattr("sim.chain.bench.engines.engine_figures", lambda tell: figures)
        monkeypatch.setattr("sim.chain.bench.growth.growth_figures", lambda tell: [])
        monkeypatch.setattr("sim.chain.bench.mix.mix_figures", lambda scenario, days, tell: [])
        scenario = str(root / "scenarios" / "baseline.yaml")
        assert self.run("--scenario", scenario, "--json") == code
        told = json.loads(capsys.readouterr().out)
        assert told["figures"][0]["ok"] is (code == 0)


@pytest.mark.bench
def test_every_figure_holds_its_bar(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit) as left:
        raise SystemExit(
            cli.run(lambda: typer.main.get_command(cli.app).main(["bench", "chain", "--json"], "olsim"))
        )
    told = json.loads(capsys.readouterr().out)
    assert left.value.code == 0, [figure for figure in told["figures"] if figure["ok"] is False]
