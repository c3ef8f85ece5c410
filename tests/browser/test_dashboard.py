"""The dashboard in a real browser: each page draws, a run can be started, and nothing leaves the machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "app"))
import fake_node
import small_run

pytest.importorskip("streamlit")
sync_api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PAGES = {"": 1, "supply": 6, "fees": 12, "governance": 7, "node": 8, "runs": 0, "attribution": 0}
"""Address of a page -> how many figures it shows."""
NAMES = {"": "overview"}
DRAWN = """count => {
  const drawn = [...document.querySelectorAll('.js-plotly-plot')].filter(plot => plot.querySelector('.main-svg'));
  return drawn.length === count && !document.querySelector('[data-testid=stStatusWidget]')
    && document.querySelector('h1');
}"""
NAME = "Name of the run directory"
SIZES = {"Runs": "2", "Agents": "100", "Days": "35", NAME: "mine"}
SIZE = {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("browser")
    small_run.write(runs / "small")
    shutil.copytree(runs / "small", runs / "newer")
    os.utime(runs / "small" / "manifest.json", (0, 0))
    return runs


@pytest.fixture(scope="module")
def node() -> Iterator[fake_node.FakeNode]:
    with fake_node.serving() as served:
        yield served


@pytest.fixture(scope="module")
def address(folder: Path, node: fake_node.FakeNode) -> Iterator[str]:
    """Serve the app as `olsim app` does and return where."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sim.cli", "app", "--port", str(port)]
    log = (folder / "server.log").open("wb")
    environment = {**os.environ, "OLSIM_RUNS": str(folder), "OLSIM_NODE": node.address}
    server = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    try:
        _until_healthy(f"http://127.0.0.1:{port}", server, folder / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(timeout=20)
        log.close()


def _until_healthy(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the dashboard did not start:\n{log.read_text(encoding='utf-8')}")


@pytest.fixture
def page(address: str) -> Iterator[sync_api.Page]:
    """Open a page whose requests are written down, and check at the end that none left the machine."""
    if not CHROMIUM.is_file():
        pytest.skip(f"{CHROMIUM} is not installed")
    asked: list[str] = []
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        opened = browser.new_page(viewport=SIZE)
        opened.on("request", lambda request: asked.append(request.url))
        opened.on("websocket", lambda socket: asked.append(socket.url))
        yield opened
        browser.close()
    local = (f"{address}/", f"{address.replace('http', 'ws')}/", "data:", "blob:")
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith(local)] == []


def picture(page: sync_api.Page, path: Path) -> None:
    """Write the whole page, which scrolls inside the window, as a picture."""
    height = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({**SIZE, "height": min(height + 40, 8000)})
    page.wait_for_timeout(300)
    page.screenshot(path=str(path))
    page.set_viewport_size(SIZE)


def test_each_page_draws_and_stays_on_this_machine(address: str, page: sync_api.Page, tmp_path: Path) -> None:
    for name, figures in PAGES.items():
        page.goto(f"{address}/{name}?run=small")
        page.wait_for_function(DRAWN, arg=figures, timeout=30_000)
        assert page.locator("[data-testid=stException]").count() == 0, name
        assert page.locator("[data-testid=stAlertContentError]").count() == 0, name
        target = tmp_path / f"{NAMES.get(name, name)}.png"
        picture(page, target)
        assert target.stat().st_size > 20_000, name
        assert "run=small" in page.url, name


def test_the_choice_of_a_run_stays_from_page_to_page(address: str, page: sync_api.Page) -> None:
    page.goto(f"{address}/supply")
    page.wait_for_function(DRAWN, arg=PAGES["supply"], timeout=30_000)
    assert "run=newer" in page.url
    page.get_by_role("combobox", name="Run", exact=True).click()
    page.get_by_role("option", name="small").click()
    page.wait_for_url("**/supply?run=small", timeout=30_000)
    page.get_by_role("link", name="Governance").click()
    page.wait_for_function(DRAWN, arg=PAGES["governance"], timeout=30_000)
    assert page.get_by_role("combobox", name="Run", exact=True).input_value() == "small"
    assert page.url == f"{address}/governance?run=small"


def test_a_scenario_can_be_run_and_looked_at(
    address: str, page: sync_api.Page, folder: Path, tmp_path: Path
) -> None:
    page.goto(f"{address}/runs")
    page.wait_for_function(DRAWN, arg=0, timeout=30_000)
    for label, value in SIZES.items():
        field = page.get_by_role("textbox" if label == NAME else "spinbutton", name=label, exact=True)
        field.fill(value)
        field.press("Tab")
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("text=mine: simulating", timeout=30_000)
    page.screenshot(path=str(tmp_path / "running.png"))
    page.reload()
    page.wait_for_selector("text=mine is complete", timeout=60_000)
    assert (folder / "mine" / "report.html").is_file()
    page.get_by_role("button", name="Show it").click()
    page.wait_for_selector("text=Report of mine", timeout=30_000)
    page.screenshot(path=str(tmp_path / "complete.png"))
    assert page.locator("[data-testid=stException]").count() == 0


def test_a_node_is_asked_and_its_answer_explained(address: str, page: sync_api.Page, tmp_path: Path) -> None:
    page.goto(f"{address}/attribution?run=small")
    page.get_by_role("textbox", name="Prompt").fill("What helps?")
    page.get_by_role("button", name="Ask").click()
    page.wait_for_selector("text=Verified: this request is number 2", timeout=30_000)
    page.wait_for_function(DRAWN, arg=1, timeout=30_000)
    spans = page.locator("mark")
    assert spans.all_inner_texts() == ["Rest and <b>drink1", " tea.3"]
    assert "(notes, ada & co)" in str(spans.first.get_attribute("title"))
    assert "rgba(42, 111, 151" in str(spans.first.get_attribute("style"))
    assert page.locator(".xtick2 text, .xaxislayer-above text", has_text="<i>ben</i>").count() > 0
    assert page.locator("[data-testid=stException]").count() == 0
    picture(page, tmp_path / "attribution.png")
