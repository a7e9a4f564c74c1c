"""The report in a real browser: nothing fetched, no error, fit for a phone, the answer on the first screen.

Chromium is driven through its DevTools pipe, so that no further package is needed.
"""

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "fixtures"))

import report_inputs  # noqa: E402  the fixtures' folder is put on the path above

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
DESKTOP, PHONE = (1280, 800), (390, 844)
WAIT_SECONDS = 60


class Browser:
    """One page of a headless Chromium, spoken to by JSON messages that end with a zero byte."""

    def __init__(self, profile: Path):
        to_browser, self.out = os.pipe()
        self.into, from_browser = os.pipe()
        # The browser reads from descriptor 3 and writes to 4.
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        command += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
        command += ["--disable-sync", "--disable-quic", "--hide-scrollbars", f"--user-data-dir={profile}"]
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.number, self.buffer, self.session = 0, b"", None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, wait for its answer; events that come before are kept."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def receive(self) -> dict[str, Any]:
        end = time.monotonic() + WAIT_SECONDS
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.into], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            block = os.read(self.into, 1 << 20)
            assert block, "the browser has ended"
            self.buffer += block
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, page: Path, size: tuple[int, int], dark: bool = False, print_media: bool = False) -> None:
        width, height = size
        phone = width < 500
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="print" if print_media else "", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def visible_text(self, selector: str) -> str:
        """Text of the elements that lie, at least in part, on the first screen."""
        return self.evaluate(
            f"""[...document.querySelectorAll({json.dumps(selector)})].filter(e => {{
                const b = e.getBoundingClientRect();
                return b.width > 0 && b.bottom > 0 && b.bottom <= innerHeight && b.right <= innerWidth + 1;
            }}).map(e => e.textContent).join(' | ')"""
        )

    def close(self) -> None:
        for descriptor in (self.out, self.into):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    arguments = report_inputs.as_arguments(report_inputs.make_inputs(folder / "in"))
    output = folder / "report.html"
    script = REPOSITORY / "scripts" / "report.py"
    subprocess.run(
        [sys.executable, str(script), *arguments, "--simulated", "--output", str(output)], check=True
    )
    return output


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_nothing_is_fetched_and_nothing_complains(browser, report, size):
    browser.open(report, size)
    requests = [
        e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    ]
    assert requests[0] == report.as_uri()
    assert all(url.startswith("data:") for url in requests[1:]), requests
    complaints = [
        e
        for e in browser.events
        if e["method"] in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    ]
    assert complaints == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_first_screen_has_accuracy_interval_and_baselines(browser, report, size):
    browser.open(report, size)
    shown = browser.visible_text("h1, h2, p, svg text")
    number = browser.evaluate("document.querySelector('.big').textContent")
    assert re.fullmatch(r"0\.\d{3}", number) and number in shown
    assert "Task: enhancers" in shown and "95% interval" in shown and "Simulated demo." in shown
    for name in ("demo untrained, frozen", "k-mer regression", "majority class"):
        assert name in shown


def test_the_first_screen_of_a_desktop_says_what_was_trained_and_what_leaked(browser, report):
    browser.open(report, DESKTOP)
    shown = browser.visible_text("li, dd")
    assert "also stood in the training file" in shown
    assert "cut into" in shown and "labelled sequences" in shown


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_page_is_wider_than_its_screen(browser, report, width):
    browser.open(report, (width, 844))
    # Wide tables scroll inside of their own frame.
    too_wide = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre, svg') && "
        "e.getBoundingClientRect().right > WIDTH + 1).map(e => e.outerHTML.slice(0, 80))".replace(
            "WIDTH", str(width)
        )
    )
    assert too_wide == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_text_of_charts_is_readable_on_a_phone(browser, report):
    browser.open(report, PHONE)
    smallest = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('svg.chart')].map(s => s.getBoundingClientRect().width "
        "/ s.viewBox.baseVal.width * 11))"
    )
    assert smallest >= 9.5


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_background(browser, report, dark):
    """Contrast of at least 4.5 (WCAG AA) for the colours that text is set in."""
    browser.open(report, DESKTOP, dark=dark)
    contrasts = browser.evaluate(
        """(() => {
        const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => {
            v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const ground = e => { while (e) { const c = getComputedStyle(e).backgroundColor;
            if (c.startsWith('rgb(')) return c; e = e.parentElement; } return 'rgb(255, 255, 255)'; };
        const found = {};
        const texts = 'h1, h2, p, a, dd, li span, th, td, small, summary, code, figcaption, svg text, '
            + '.batch span, .legend span';
        for (const e of document.querySelectorAll(texts)) {
            if (!e.textContent.trim() || e.closest('.confusion')) continue;
            const style = getComputedStyle(e);
            const ink = e.namespaceURI.includes('svg') ? style.fill : style.color;
            const a = light(ink), b = light(ground(e));
            found[e.tagName + ' ' + ink] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        }
        return found; })()"""
    )
    assert contrasts and min(contrasts.values()) >= 4.5, contrasts


def test_every_picture_and_table_can_be_told_without_seeing_it(browser, report):
    browser.open(report, DESKTOP)
    assert browser.evaluate("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-label'))")
    assert browser.evaluate("[...document.querySelectorAll('table')].every(t => t.caption)")
    assert browser.evaluate("[...document.querySelectorAll('th')].every(h => h.textContent.trim())")
    assert browser.evaluate("document.documentElement.lang") == "en"
    skipped = browser.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])"
        ".reduce((worst, level, i, all) => Math.max(worst, i ? level - all[i - 1] : 0), 0)"
    )
    assert skipped <= 1


def told(browser: Browser) -> list[tuple[str, str]]:
    """Role and name of all that screen readers are given, in its order."""
    nodes = {n["nodeId"]: n for n in browser.call("Accessibility.getFullAXTree")["nodes"]}
    found, waiting = [], [next(iter(nodes))]
    while waiting:
        node = nodes[waiting.pop()]
        waiting += [child for child in reversed(node.get("childIds", [])) if child in nodes]
        if not node["ignored"]:
            found.append((node["role"]["value"], node.get("name", {}).get("value", "")))
    return found


def test_screen_readers_are_given_what_is_out_of_sight_too(browser, report):
    browser.open(report, DESKTOP)
    roles = [role for role, _ in told(browser)]
    assert roles.count("image") == browser.evaluate("document.querySelectorAll('svg').length") > 10
    shown = "[...document.querySelectorAll('table')].filter(t => !t.closest('details')).length"
    assert roles.count("table") == browser.evaluate(shown) > 10
    # A landmark is a chapter, not each table: who jumps from one to the next has to get somewhere.
    assert roles.count("main") == 1 and roles.count("region") <= 8


def test_which_token_is_hidden_is_told_in_words(browser, report):
    browser.open(report, DESKTOP)
    texts = [name for role, name in told(browser) if role == "StaticText"]
    assert texts[texts.index("[MASK]") + 1].strip() == "truth"
    marked = browser.evaluate("document.querySelectorAll('td.seq b, th.seq b').length")
    assert sum(text.strip() == "hidden:" for text in texts) == marked > 0
    # The words take no room.
    assert browser.evaluate(
        "[...document.querySelectorAll('.unseen')].every(e => e.getBoundingClientRect().width <= 1)"
    )


def test_all_that_can_be_used_is_reached_by_keys_in_order(browser, report):
    browser.open(report, DESKTOP)
    reached: list[float] = []
    for _ in range(200):
        for kind in ("rawKeyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        stop = browser.evaluate(
            "(e => e === document.body ? null : { place: [...document.querySelectorAll('*')].indexOf(e), "
            "outline: getComputedStyle(e).outlineStyle, named: !!(e.getAttribute('aria-label') || "
            "e.textContent).trim(), role: e.matches('a, summary, [role]') })(document.activeElement)"
        )
        if stop is None:
            break
        assert stop["outline"] == "solid" and stop["named"] and stop["role"], stop
        reached.append(stop["place"])
    assert reached == sorted(set(reached))
    usable = "[...document.querySelectorAll('a[href], summary')].length"
    assert len(reached) >= browser.evaluate(usable) > 5


@pytest.mark.parametrize("width", [320, 390])
def test_names_of_rows_leave_room_for_what_is_said_of_them(browser, report, width):
    """The first column stays in place while a table is moved; it must not cover the screen."""
    browser.open(report, (width, 844))
    # Names have 64 letters at most.
    browser.evaluate(
        "document.querySelectorAll('table tbody tr:last-child th:not(.seq)')"
        ".forEach(e => e.textContent = 'n_'.repeat(32))"
    )
    share = browser.evaluate(
        "Math.max(...[...document.querySelectorAll('.scroll')].filter(s => s.scrollWidth > s.clientWidth + 1)"
        ".flatMap(s => [...s.querySelectorAll('tbody th')]).filter(e => getComputedStyle(e).position == "
        "'sticky').map(e => e.getBoundingClientRect().width)) / innerWidth"
    )
    assert 0 < share <= 0.5
    # A short name stays whole.
    lines = browser.evaluate(
        "[...document.querySelectorAll('tbody th')].filter(e => e.textContent == 'accuracy').map(e => { "
        "const r = document.createRange(); r.selectNodeContents(e); return r.getClientRects().length; })"
    )
    assert lines and set(lines) == {1}


def test_what_is_printed_begins_with_the_answer_and_is_dark_on_white(browser, report):
    browser.open(report, DESKTOP, dark=True, print_media=True)
    # An answer that does not fit on the rest of a page would leave that page empty.
    assert browser.evaluate("getComputedStyle(document.querySelector('.answer')).breakInside") == "auto"
    quiet = browser.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--quiet')")
    assert quiet.strip() == "#56606d"


def test_nothing_is_cut_off_at_the_edge_of_the_paper(browser, report):
    """A4 with the usual margins, upright."""
    browser.open(report, (718, 1000), print_media=True)
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    cut = browser.evaluate(
        "[...document.querySelectorAll('table, figure, .picture, .batch, pre')]"
        ".filter(e => e.getBoundingClientRect().right > 719).map(e => e.textContent.trim().slice(0, 60))"
    )
    assert cut == []
    # Sequences have the room that is left.
    lines = browser.evaluate(
        "Math.max(...[...document.querySelectorAll('td.seq')].map(e => e.getBoundingClientRect().height / "
        "parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert lines < 15


def test_numbers_stand_below_the_heads_of_their_columns(browser, report):
    browser.open(report, DESKTOP)
    crooked = browser.evaluate(
        "[...document.querySelectorAll('table:not(.confusion)')].filter(t => t.rows.length > 1 && "
        "[...t.tHead.rows[0].cells].some((c, i) => getComputedStyle(c).textAlign != "
        "getComputedStyle(t.tBodies[0].rows[0].cells[i]).textAlign)).map(t => t.caption.textContent)"
    )
    assert crooked == []


def test_folded_chapters_open(browser, report):
    browser.open(report, DESKTOP)
    count = browser.evaluate("document.querySelectorAll('details').length")
    assert count >= 3
    browser.evaluate("document.querySelectorAll('details > summary').forEach(s => s.click())")
    assert browser.evaluate("document.querySelectorAll('details[open]').length") == count
