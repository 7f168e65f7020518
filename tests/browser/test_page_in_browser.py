"""The report page as a reader has it, in Debian's Chromium: see setup.sh beside this file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.report import write_report
from benchmark.report.figures import Drawn
from benchmark.report.figures.picture import Picture, in_page
from benchmark.report.write import page
from tests.made_up import USUAL, run, runs, write

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: extra 'browser'")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: tests/browser/setup.sh")

NAMES = ("<script>alert(1)<script>", "<img src=x onerror=alert(2)>", "a|b_%", "n" * 80)
REAL = {"protocol": "standard", "source": "real"}
ROWS = "#leaderboard tbody:first-of-type tr"
SVG = "<svg xmlns='http://www.w3.org/2000/svg' width='96pt' height='48pt'>{}</svg>"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    made_up = runs({**USUAL, **dict.fromkeys(NAMES, 1.0)}, folds=4, **REAL)
    made_up += [run("broken", 0, status="failed", reason="<b>nan</b>", **REAL)]
    made_up += runs(USUAL, dataset="other", kind="regression", fingerprint="f1")
    made_up += runs(USUAL, source="real", fingerprint="f2")
    made_up += runs(USUAL, fingerprint="f3")
    write(made_up, folder)
    written = write_report(folder, folder / "out", figures=False)
    png, svg = b"\x89PNG" + b"x" * 2000, SVG.format("<circle r='9'/>" * 20).encode()
    picture = Picture(png, svg, (1.0, 0.5), in_page(png, svg))
    drawn = [(Drawn("one", "scores", "real", "standard"), picture)]
    path = folder / "report.html"
    path.write_text(page(written.sections, [], written.results, drawn), "utf-8")
    return path


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


STANDARD = "#dataset=toy&source=real&protocol=standard"


@pytest.fixture
def opened(chromium, page_file):
    """Opens the page without a network; whatever the console or a dialog says is an error."""
    contexts, said = [], []

    def call(fragment: str = STANDARD, **options):
        options = {"viewport": {"width": 1280, "height": 900}, "offline": True, **options}
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto(f"{page_file.as_uri()}{fragment}")
        page.wait_for_selector(ROWS)
        return page

    yield call
    for context in contexts:
        context.close()
    assert said == []


def pick(page, name: str, value: str) -> None:
    page.locator(f"#pickers [name={name}]").select_option(value)


def methods(page) -> list[str]:
    return page.locator(f"{ROWS} > th").all_inner_texts()


def test_it_opens_and_foreign_names_are_text(opened):
    page = opened()
    assert set(methods(page)) >= {*NAMES, "single", "mdico"}
    assert page.locator("main img").count() == 1  # the figure
    page.wait_for_function("document.querySelector('figure img').naturalWidth > 0")
    page.locator("#exclusions-table .open").click()
    assert "broken fold 0" in page.locator("#card").inner_text()
    assert "<b>nan</b>" in page.locator("#exclusions-table").inner_text()


def test_sorting_by_click_and_by_keyboard(opened):
    page = opened()
    reported = methods(page)
    header = page.locator("#leaderboard th", has_text="Gain in")
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert methods(page)[0] == "mdico"
    assert methods(page)[-1] == "broken" or methods(page)[-1] == "single"  # no gain: last
    header.get_by_role("button").press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert header.get_by_role("button").evaluate("e => e === document.activeElement")
    assert "mdico" in methods(page)[-3:]
    assert "sorted by Gain" in page.locator("#status").inner_text()
    header.get_by_role("button").press("Space")
    assert header.get_attribute("aria-sort") is None
    assert methods(page) == reported


def test_filtering_is_announced_and_leaves_no_step_back(opened):
    page = opened()
    steps = page.evaluate("history.length")
    page.get_by_label("Find").first.fill("MDICO")
    assert methods(page) == ["mdico", "mdico_no_con"]
    assert "2 of 9 methods" in page.locator("#status[role=status]").inner_text()
    page.locator("#filters select").select_option("ablation")
    assert methods(page) == ["mdico_no_con"]
    assert "role=ablation" in page.url and "q=MDICO" in page.url
    assert page.evaluate("history.length") == steps


def test_pickers_are_in_the_address_both_ways(opened):
    page = opened("")
    title = page.locator("#title")
    pick(page, "dataset", "toy")
    assert "toy, real data" in title.inner_text()
    pick(page, "source", "generated")
    pick(page, "modality", "S2")
    pick(page, "metric", "kappa")
    assert "Cohen's κ" in page.locator("#leaderboard thead").inner_text()
    link = page.url
    for part in ("dataset=toy", "source=generated", "modality=S2", "metric=kappa"):
        assert part in link
    table = page.locator("#leaderboard").inner_text()
    again = opened("#" + link.split("#")[1])
    assert again.locator("#leaderboard").inner_text() == table
    page.go_back()
    page.wait_for_function("document.querySelector('[name=metric]').value === 'macro_f1'")
    page.go_back()
    page.wait_for_function("document.querySelector('[name=modality]').value === 'S1'")
    page.go_back()
    page.wait_for_function("document.querySelector('#title').textContent.includes('real data')")
    page.go_forward()
    page.wait_for_function("document.querySelector('#title').textContent.includes('GENERATED')")


def test_a_link_to_what_is_not_there_says_so(opened):
    page = opened("#dataset=gone&metric=<script>")
    said = page.locator("#status").inner_text()
    assert "dataset “gone”" in said and "metric “<script>”" in said


def test_evidence_on_hover_focus_and_tap(opened):
    page = opened()
    row = page.locator(ROWS, has=page.get_by_text("mdico", exact=True))
    row.locator("td.more").nth(1).hover()
    card = page.locator("#card")
    card.wait_for()
    words = card.inner_text()
    for part in ("95 % interval", "p, corrected (Holm)", "Smallest detectable gain", "worse in"):
        assert part in words
    made_up = [run("mdico", fold, skill=1.6, **REAL) for fold in range(4)]
    assert all(record.id in words for record in made_up)
    page.mouse.move(2, 2)
    card.wait_for(state="detached")

    button = row.locator(".open")
    button.focus()
    card.wait_for()
    assert button.get_attribute("aria-describedby") == "card-brief"
    page.keyboard.press("Escape")
    card.wait_for(state="detached")
    assert button.evaluate("e => e === document.activeElement")

    phone = opened(has_touch=True, is_mobile=True, viewport={"width": 360, "height": 740})
    phone.locator(f"{ROWS} .open").first.tap()
    phone.locator("#card.pinned").wait_for()
    phone.locator("#card .close").tap()
    phone.locator("#card").wait_for(state="detached")


def test_on_a_phone_a_card_shows_every_column_of_its_runs(opened):
    phone = opened(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    phone.locator(f"{ROWS} .open").nth(1).tap()
    phone.locator("#card.pinned").wait_for()
    heads = phone.locator("#card thead th")
    assert heads.all_inner_texts()[:4] == ["fold", "seed", "macro F1", "run"]
    assert all(head.is_visible() for head in heads.all())
    first = phone.locator("#card tbody tr").first.locator("td")
    assert all(cell.is_visible() and cell.inner_text() for cell in first.all())
    # Without hiding one another: each cell begins where the one before it ends.
    boxes = [cell.bounding_box() for cell in first.all()]
    assert all(a["x"] + a["width"] <= b["x"] + 1 for a, b in zip(boxes, boxes[1:], strict=False))
    assert phone.locator("#leaderboard > tbody > tr > td.family").first.is_hidden()


def test_the_answer_stands_above_the_table(opened):
    page = opened()
    said = page.locator("#answer").inner_text()
    assert "On S1, no method is better than single" in said
    pick(page, "modality", "S2")
    assert "On S2" in page.locator("#answer").inner_text()


def test_a_smoke_run_has_neither_marks_nor_bold_nor_order(opened):
    page = opened("#dataset=toy&source=real&protocol=quick")
    assert "SMOKE RUN" in page.locator("#flags").inner_text()
    table = page.locator("#leaderboard")
    assert table.locator("strong, .better, .worse, .ns, .strip").count() == 0
    assert methods(page)[:2] == ["single", "kd"]
    page.locator(f"{ROWS} .open").nth(1).focus()
    assert "a smoke run is no evidence" in page.locator("#card").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_a_phone_without_sideways_scroll(opened, scheme):
    page = opened(color_scheme=scheme, viewport={"width": 360, "height": 740}, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    found = page.evaluate(CONTRASTS)
    assert len(found) > 5 and min(found.values()) >= 4.5
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(253, 253, 252)") == (scheme == "light")
    assert (page.locator("figure img").evaluate("e => getComputedStyle(e).filter") == "none") == (
        scheme == "light"
    )


CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const level = (c) => { c /= 255; return c <= 0.04 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * level(r) + 0.7152 * level(g) + 0.0722 * level(b);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const found = numbers(getComputedStyle(e).backgroundColor);
      if (found.length === 3) return found;
    }
  };
  const texts = ["h1", "header p", "caption", "thead button", "td.number", ".ns", "#notes p",
    "#flags li", "#status", "summary", "label", "#how p", "footer p"];
  const found = texts.map((text) => document.querySelector(text)).filter((e) => e);
  return Object.fromEntries(found.map((e) => {
    const [a, b] = [light(numbers(getComputedStyle(e).color)), light(ground(e))];
    return [e.tagName + e.className + e.id, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  }));
}"""
