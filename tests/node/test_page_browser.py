"""The node page in a real browser: live, in both colour schemes, by keyboard, and with no complaint of its policy."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Tab, browser, find_browser
from tests.support.daemon import Daemon
from tests.support.isolation import ip, remove_link
from tests.support.page import Page, served_page
from tests.support.pods import annotated, container_config, pod_config, remove_pod, run_pod, start

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(not find_browser(), reason="there is no chromium: hack/setup page installs one (300 MB)"),
]


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browser() as tab:
        yield tab


@pytest.fixture
def page(daemon: Daemon) -> Iterator[Page]:
    ip("link", "add", "browse0", "type", "veth", "peer", "name", "browse1")
    with served_page(daemon) as page:
        yield page
    remove_link("browse0")


def text(name: str) -> str:
    return f"document.querySelector('[data-part={name}]').textContent"


def test_live(daemon: Daemon, page: Page, tab: Tab) -> None:
    """A pod and its device appear and go without a reload; what a person has opened stays open, and focused."""
    tab.open(page.url)
    tab.until("document.getElementById('live').textContent === 'live'")
    pod = run_pod(daemon, pod_config("browsed", annotations=annotated(browse0="net1")))
    tab.until(f"{text('pods')}.includes('test/browsed')")
    summary = f"document.querySelector('#namespaces-{pod} > summary')"
    tab.run(f"{summary}.click(); {summary}.focus()")
    start(daemon, pod, container_config("main"))
    tab.until(f"{text('pods')}.includes('running')")
    tab.until("document.querySelector('.picture .wire.ready') !== null")
    assert tab.run(f"document.getElementById('namespaces-{pod}').open")
    assert tab.run(f"document.activeElement === {summary}")
    tab.run(f"document.querySelector('#start-{pod} > summary').click()")
    tab.until(f"document.querySelector('#start-{pod} img')?.naturalWidth > 100")
    remove_pod(daemon, pod)
    tab.until(f"{text('devices')}.includes('back on the node')")
    tab.until(f"!{text('pods')}.includes('test/browsed')")
    assert tab.complaints == []


def test_by_keyboard(daemon: Daemon, page: Page, tab: Tab) -> None:
    """The first Tab shows the link past the rest; what has the focus is seen to have it; Enter opens details."""
    tab.open(page.url)
    tab.press("Tab")
    assert tab.run("document.activeElement.className") == "skip"
    assert tab.run("document.activeElement.getBoundingClientRect().left") >= 0
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for _ in range(40):
        tab.press("Tab")
        if tab.run("document.activeElement.tagName") == "SUMMARY":
            break
    tab.press("Enter")
    assert tab.run("document.activeElement.parentElement.open")
    assert tab.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_can_be_read(daemon: Daemon, page: Page, tab: Tab, scheme: str, tmp_path: Path) -> None:
    """Text has the contrast that WCAG 2.2 wants (4.5), in the page and in its picture, and nothing is wider than it."""
    pod = run_pod(daemon, pod_config("read", annotations=annotated(browse0="net1")))
    start(daemon, pod, container_config("main"))
    tab.colours(scheme)
    tab.open(page.url)
    assert tab.run(CONTRAST) == []
    tab.screenshot(tmp_path / "page.png", 1000, 700)
    assert (tmp_path / "page.png").stat().st_size > 20_000
    assert tab.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert tab.complaints == []
    remove_pod(daemon, pod)


# What is too faint: each text with its colour and that of the nearest ground below it (WCAG 2.2, 1.4.3). In the picture
# that is the rectangle before it.
CONTRAST = """(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (each) => {
    for (let at = each; at; at = at.parentElement) {
      const rect = at.tagName === "g" && at.querySelector(":scope > rect");
      if (rect) return getComputedStyle(rect).fill;
      const colour = getComputedStyle(at).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  for (const each of document.querySelectorAll("body *")) {
    const own = [...each.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || each.tagName === "title" || each.tagName === "desc" || !each.getClientRects().length) continue;
    const style = getComputedStyle(each);
    const colours = [light(each.tagName === "text" ? style.fill : style.color), light(ground(each))];
    const contrast = (Math.max(...colours) + 0.05) / (Math.min(...colours) + 0.05);
    if (contrast < 4.5) faint.push(`${each.tagName} "${each.textContent.trim()}": ${contrast.toFixed(2)}`);
  }
  return faint;
})()"""
