"""What the benchmark makes of what it measured: ratios, who is behind, pages and plots. Nothing is measured here."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from hack.benchmark import calls, floor, leak, plots, report
from hack.benchmark.contestants import CONTAINERD, CRUN, RUNC
from tests.support.turnover import Held

REPORT: dict[str, Any] = {
    "operationsNames": ["CreatePod", "StopPod", "RemovePod"],
    "datapoints": [{"operationsDurationsNs": [3_000_000, n, 1_000_000]} for n in (5_000_000, 7_000_000, 90_000_000)],
}


def results() -> report.Results:
    found = report.Results({"date": "2026-11-28"}, {"CRI-O, runc": "it does not build"})
    for ours, theirs in ((6.0, 5.0), (9.0, 6.0)):
        found.add(RUNC, {"StopContainer": ours})
        found.add(CONTAINERD, {"StopContainer": theirs})
        found.add(CRUN, {"StopContainer": theirs - 1})
    return found


def test_a_row_is_the_sum_of_the_medians_of_its_calls() -> None:
    assert calls.rows([REPORT]) == {calls.END: 8.0}


def test_the_cause_is_the_error_and_not_the_last_line() -> None:
    assert calls.cause("one\n  panic: timed out\ngoroutine 1\n") == "panic: timed out"


def test_ratios_are_of_neighbours_and_bold_where_every_round_is_behind() -> None:
    text = report.table(results())
    assert "**1.35 (1.20 to 1.50)**" in text
    assert "| 0.82 (0.80 to 0.83) |" in text
    assert "CRI-O, runc could not be measured: it does not build" in text


def test_one_round_that_reaches_it_is_not_behind() -> None:
    assert not report.is_behind("StopContainer", RUNC, [0.99, 1.4])
    assert report.is_behind(calls.END, RUNC, [0.7, 0.8]), "0.6 is wanted of this row"


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    results().write(tmp_path / "r.json")
    assert report.read(tmp_path / "r.json") == results()


def test_a_table_goes_where_the_page_has_its_marks_and_nowhere_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"head\n{report.MARKS[0]}\nold\n{report.MARKS[1]}\ntail\n")
    report.into(page, results())
    text = page.read_text()
    assert text.startswith("head\n")
    assert text.endswith("\ntail\n")
    assert "old" not in text
    page.write_text("no marks")
    with pytest.raises(AssertionError, match="has no"):
        report.into(page, results())


def test_the_docs_have_the_places_that_are_written_to() -> None:
    page = (Path(__file__).parents[3] / "docs/performance.md").read_text()
    assert [page.count(mark) for mark in report.MARKS] == [1, 1]
    for link in re.findall(r"\]\((performance/[^)]+)\)", page):
        assert (Path(__file__).parents[3] / "docs" / link).exists(), link


def test_plots_are_svg_that_follows_the_readers_colours() -> None:
    bars = plots.bars("a < b", {"row": {"x": 2.0, "y": 1.0}}, ["x", "y"])
    lines = plots.lines("growth", "ms", {"List": [(10, 1.0), (500, 9.0)]})
    for svg in (bars, lines):
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg")
        assert "prefers-color-scheme: dark" in svg
    widths = re.findall(r'width="(\d+)" height="10" fill', bars)
    assert sorted(map(int, widths), reverse=True)[0] == 2 * min(int(w) for w in widths if int(w) > 10)


def test_the_floors_steps_are_medians_in_ms() -> None:
    assert floor.steps("add 1000\nadd 3000\nadd 2000\nstart 7000\n") == {"add": 2.0, "start": 7.0}


def test_a_slope_is_what_a_pod_leaves_whatever_one_outlier_says() -> None:
    found = [Held(pods, 1000 + pods * 2, 0, 10, 5) for pods in (100, 200, 300, 400)]
    found[2] = Held(300, 90000, 0, 10, 5)
    assert leak.slope([*found, Held(500, 2000, 0, 10, 5)]) == pytest.approx(2, abs=0.1)
