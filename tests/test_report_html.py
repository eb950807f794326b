"""The page: what is in it, how large it is, and how it behaves in a browser."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fake
import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the page needs bokeh: pip install 'fwcore[report]'")

from fwcore.report import compare, compare_page, html
from fwcore.report.flow_ledger import FlowLedger
from fwcore.result import Result

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the page with")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --enable-logging=stderr "
    "--virtual-time-budget=4000 --dump-dom"
).split()  # fmt: skip


def open_page(page, folder, *, fragment="", script="", flags=()):
    """(dom after the script, what went wrong) of a page opened in headless Chromium."""
    if script:
        page = page.replace("</body>", f"<script>{WHEN_READY % script}</script></body>")
    path = Path(folder) / "page.html"
    path.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={folder}/profile", path.as_uri() + fragment],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    wrong = [
        line
        for line in done.stderr.splitlines()
        if "CONSOLE" in line and re.search("error|uncaught|refused|violates", line, re.I)
    ]
    return done.stdout, wrong


WHEN_READY = """
(function wait() {
  if (document.documentElement.dataset.ready !== "yes") return setTimeout(wait, 20);
  %s
})();
"""


def root(dom):
    """Attributes of the html element."""
    return dict(re.findall(r'data-([a-z]+)="([^"]*)"', re.search("<html[^>]*>", dom)[0]))


@pytest.fixture(scope="module")
def page():
    return html.render(Result(fake.make()))


@pytest.fixture(scope="module")
def page_on():
    return html.render(Result(fake.make(ends="on")))


def test_the_page_asks_nobody_for_anything(page):
    skeleton = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r'(src|href)="', skeleton)
    assert "default-src 'none'" in skeleton


def test_every_part_is_there(page):
    for title in ("Memory", "Sessions", "Verdicts and reasons", "Exposure", "Hosts", "Policies",
                  "Conserve mode", "device's words", "Victims", "Settings", "Laws"):  # fmt: skip
        assert title in page.replace("&#x27;", "'")
    assert "Kernel enters memory conserve mode" in page and fake.make()["outcome"] in page
    assert "file my.toml:4" in page


def test_the_banner_shows_when_it_should(page, page_on):
    assert 'id="banner"' not in page
    assert '<div id="banner" class="extreme"' in page_on
    on = fake.make(ends="on")
    on["conserve"]["mode"] = "on"
    made = html.render(Result(on))
    assert 'class="on"' in made and "The system has entered conserve mode" in made


def test_strings_of_the_capture_cannot_leave_their_place():
    data = fake.make(victims=1)
    evil = "</script><script>document.title='owned'</script>"
    data["inputs"][0]["path"] = data["victims"][0]["key"] = data["events"][0]["text"] = evil
    assert evil not in html.render(Result(data))


def test_ten_million_packets_stay_under_5_mb():
    data = fake.make(packets=10_000_000, samples=20_000, victims=10_000, duration_s=9000)
    data["conserve"]["transitions"] *= 2500
    data["events"] *= 2500
    assert len(html.render(Result(data)).encode()) < 5_000_000


def test_a_result_without_samples_has_a_page_without_charts():
    data = fake.make(victims=0)
    data["timeline"] = {}
    data["conserve"]["transitions"] = []
    made = html.render(Result(data))
    assert "Every verdict" in made and len(made) < 100_000


def test_of_samples_in_which_nothing_came_nobody_is_warned(caplog):
    data = fake.make(victims=0, samples=5)
    line = data["timeline"]
    for name in ("created", "ended", "tension", "evicted", "exposed_packets"):
        line[name] = [0] * 5
    for name in ("verdicts", "reasons"):
        line[name] = {key: [0] * 5 for key in line[name]}
    assert "memory" in html.render(Result(data))
    assert caplog.records == []


def test_without_bokeh_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh.embed", None)
    monkeypatch.delitem(sys.modules, "fwcore.report.charts")
    with pytest.raises(Exception, match=r"fwcore\[report\]"):
        __import__("fwcore.report.charts")


@browser
def test_it_opens_without_a_script_error(page, tmp_path):
    dom, wrong = open_page(page, tmp_path)
    assert wrong == []
    assert root(dom)["ready"] == "yes" and root(dom)["range"] == "0.000-60.250"
    assert "400 of 400 sessions taken, the first 200 shown" in dom


@browser
def test_an_address_zooms_the_charts(page, tmp_path):
    dom, wrong = open_page(page, tmp_path, fragment="#t=10-20")
    assert wrong == [] and root(dom)["range"] == "10.000-20.000"


@browser
def test_a_click_on_a_transition_zooms_and_the_button_goes_back(page, tmp_path):
    click = 'document.querySelector("#transitions tr[data-second]").click();'
    dom, wrong = open_page(page, tmp_path, script=click)
    first = fake.make()["conserve"]["transitions"][0]
    second = (first["time_ns"] - fake.START_NS) / 1e9
    low, high = map(float, root(dom)["range"].split("-"))
    assert wrong == [] and low < second < high and high - low < 10
    back = click + 'document.getElementById("whole").click();'
    dom, _ = open_page(page, tmp_path, script=back)
    assert root(dom)["range"] == "0.000-60.250"


def body_of(dom, table):
    """The rows of a searchable table."""
    return re.search(rf'id="{table}".*?<tbody>(.*?)</tbody>', dom, re.S)[1]


@browser
def test_victims_are_sorted_by_a_click(page, tmp_path):
    script = 'document.querySelectorAll("#victims th")[5].click();'
    dom, wrong = open_page(page, tmp_path, script=script)
    idle = max(row["idle_ns"] for row in fake.make()["victims"])
    assert wrong == [] and 'aria-sort="descending"' in dom
    assert f"{idle // 10**6 / 1000:.3f}" in body_of(dom, "victims").split("</tr>")[0]


@browser
def test_search_finds_victims(page, tmp_path):
    script = """
      document.getElementById("victims-search").value = "10.3.0.10:";
      document.getElementById("victims-search").dispatchEvent(new Event("input"));
    """
    dom, wrong = open_page(page, tmp_path, script=script)
    wanted = [row for row in fake.make()["victims"] if "10.3.0.10:" in row["key"]]
    assert wrong == [] and f"{len(wanted)} of 400" in dom
    body = body_of(dom, "victims")
    assert body.count("<tr>") == len(wanted) == 1 and wanted[0]["key"] in body


@browser
def test_themes_follow_the_system_and_the_button(page, tmp_path):
    dark = "--blink-settings=preferredColorScheme=0"
    dom, _ = open_page(page, tmp_path, flags=(dark,))
    assert root(dom)["theme"] == "dark"
    script = """
      document.getElementById("theme").click();
      const grid = Bokeh.documents[0].roots()[0].above.find((part) => part.type === "Legend");
      document.documentElement.dataset.ink = grid.label_text_color;
    """
    dom, wrong = open_page(page, tmp_path, script=script, flags=(dark,))
    assert wrong == [] and root(dom)["theme"] == "light" and root(dom)["ink"] == "#1b2430"


@browser
def test_the_banner_in_a_browser(page_on, tmp_path):
    dom, wrong = open_page(page_on, tmp_path)
    assert wrong == [] and "Kernel enters extreme low memory mode" in dom


@browser
def test_the_comparison_opens_with_timelines_on_one_axis(tmp_path):
    import numpy as np

    ledger, two = FlowLedger(), np.array([1, 2])
    place, _ = ledger.traffic.add(two, two, np.array([60, 60]))
    ledger.add(place, np.array([[0, 0], [3, 0]]), np.array([60, 60]), two, np.zeros(2))
    table = ledger.table()
    results = tuple(Result(fake.make(victims=0, ends=mode)) for mode in ("off", "on"))
    for result in results:
        result.data["sessions"]["ended"] |= {"evicted": 0, "tension": 0, "killed": 0}
    made = compare_page.render(compare.Comparison(("pass", "off"), results, (table, table)))
    script = """
      const plots = Bokeh.documents.flatMap((doc) => doc.roots());
      plots[0].x_range.setv({start: 5, end: 6});
      document.documentElement.dataset.starts =
        JSON.stringify(plots.map((plot) => plot.x_range.start));
    """
    dom, wrong = open_page(made, tmp_path, script=script)
    assert wrong == []
    assert json.loads(root(dom)["starts"]) == [5, 5, 5, 5]


@browser
def test_a_long_policy_name_is_not_squeezed_by_the_figures_beside_it(tmp_path):
    """Four settings and four figures are wider than the page: names were broken at every word."""
    settings = [f"a-setting-with-a-long-name-{n}" for n in range(4)]
    cost = dict.fromkeys(("lost", "dropped_bytes", "sessions_taken", "uninspected_bytes"), 1_000)
    rows = [{"policy_name": name, "flows": 1, "bytes": 1, "cost": dict.fromkeys(settings, cost)}
            for name in ("web", "Headquarters LAN to Internet", "Headquarters " * 8)]
    made = compare_page._costs("Policies", rows, "policy_name", settings, settings)
    made = compare_page.page.assemble(title="", subtitle="", banner="", body=made, footer="",
                                      data={"tables": []}, chart_script="")
    script = """
      const cells = [...document.querySelectorAll("td:first-child")];
      document.documentElement.dataset.heights =
        JSON.stringify(cells.map((cell) => cell.offsetHeight));
    """
    dom, wrong = open_page(made, tmp_path, script=script)
    one, long, longest = json.loads(root(dom)["heights"])
    assert wrong == [] and one == long < longest < 5 * one


def test_one_colour_for_one_reason():
    from fwcore._layout import Reason
    from fwcore.report import charts

    assert set(charts.REASON_COLOURS) == {reason.name.lower() for reason in Reason}
    assert len(set(charts.REASON_COLOURS.values())) == len(Reason)


def light(colour: str) -> float:
    """Relative luminance (WCAG 2.1)."""
    parts = [int(colour[at:at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
                        for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_is_seen_in_both_themes():
    from fwcore.report import charts

    sheet = Path(charts.__file__).with_name("page.css").read_text()
    papers = re.findall(r"--card: (#\w{6})", sheet)
    assert len(papers) == 2
    for name, colour in (charts.COLOURS | charts.REASON_COLOURS).items():
        for paper in papers:
            low, high = sorted((light(colour), light(paper)))
            assert (high + 0.05) / (low + 0.05) > 2.2, (name, colour, paper)


@pytest.mark.parametrize(("rates", "marks"), [
    ((64_000, 1_000_000, 2 * 10**9), {10**5: "100k", 10**6: "1M", 10**7: "10M", 10**8: "100M",
                                      10**9: "1G"}),
    ((1_200_000, 1_500_000), {1_200_000: "1.2M", 1_500_000: "1.5M"}), ((8,), {8: "8"})])
def test_rates_are_marked_as_they_are_written(rates, marks):
    """Not as 1m and 1b; and no share of the bytes is below 0."""
    from fwcore.report import charts

    cell = {"depth": "1s", "bytes": 0}
    made = charts.demand([{"rate": rate, "depth_bytes": 1500, "depth_ns": 1, "dropped": [cell]}
                          for rate in rates], 1)
    assert made["dropped"].y_range.start == 0
    for chart in made.values():
        (axis,) = chart.xaxis
        assert axis.ticker.ticks == sorted(marks)
        assert axis.major_label_overrides == marks


@pytest.mark.parametrize(("most", "form"), [
    (999_999, "0.[00]a"), (1e6, "0,0"), (0.1, "0.[00]a"), (0.004, "0.[000000]"), (0.0, "0.[00]a")])
def test_a_million_is_not_written_m(most, form):
    from bokeh.models import Range1d

    from fwcore.report import charts

    made = charts._lines("setups", [0, 1], {"created": np.array([0.0, most])}, ["created"],
                         Range1d(0, 1), "sessions/s")
    assert made.yaxis[0].formatter.format == form


def test_levels_below_what_is_in_use_can_be_read():
    from fwcore.report import charts

    labels = list(charts.make(Result(fake.make()))["memory"].select({"name": "threshold"}))
    assert len(labels) == 3 and {label.background_fill_color for label in labels} == {"#ffffff"}


def test_what_vanishes_beside_base_has_a_panel_of_its_own(page):
    from fwcore.report import charts

    small = fake.make(victims=0)
    line = small["timeline"]
    for owner in ("sessions", "shm", "cache"):
        line["base"] = [a + b - b // 50 for a, b in zip(line["base"], line[owner], strict=True)]
        line[owner] = [pages // 50 for pages in line[owner]]
    assert "others" in charts.make(Result(small)) and "others" not in charts.make(
        Result(fake.make()))
    assert "MiB, without base" in html.render(Result(small))
    for owner in ("sessions", "shm", "cache"):  # hundredths of a MiB
        line["base"] = [a + b - min(b, 3) for a, b in zip(line["base"], line[owner], strict=True)]
        line[owner] = [min(pages, 3) for pages in line[owner]]
    assert charts.make(Result(small))["others"].yaxis[0].formatter.format == "0.[000000]"
