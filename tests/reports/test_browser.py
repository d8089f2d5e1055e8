"""The pages in a browser: two widths, two colour schemes, every toggle, a silent console."""

import pytest

from tests.support.browser import chromium
from tests.support.left_run import leave_run
from yolor_jax.reports.page import write_report

WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
FILLED = """svg => {
    const box = svg.getBoundingClientRect();
    const shapes = [...svg.querySelectorAll("path, use, image")].filter(shape => {
        const own = shape.getBoundingClientRect();
        return own.width + own.height > 0 && !shape.closest("defs");
    });
    return box.width > 200 && box.height > 100 && shapes.length > 2
        && [...svg.querySelectorAll("text")].some(text => text.textContent.trim());
}"""
LOOKS = "name => getComputedStyle(document.body).getPropertyValue(name)"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def pages(left, data, tmp_path_factory):
    """The page of a run, and that of three."""
    folder = tmp_path_factory.mktemp("pages")
    others = [folder / "second", folder / "third"]
    for seed, workdir in enumerate(others, 1):
        leave_run(workdir, data, seed=seed)
    return {
        "run": write_report([left], folder / "run.html").path,
        "several": write_report([left, *others], folder / "several.html").path,
    }


@pytest.fixture(params=[(width, scheme) for width in WIDTHS for scheme in SCHEMES],
                ids=lambda kind: f"{kind[0]}-{kind[1]}")  # fmt: skip
def opened(request, browser, pages):
    """``opened(name)``: a page, of which nothing may be said on the console or asked elsewhere."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 844},
        color_scheme=scheme,
        reduced_motion="reduce",
        offline=True,
    )
    said = []

    def look(name):
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda asked: said.append(asked.url)
                if not asked.url.startswith(("file:", "data:")) else None)  # fmt: skip
        page.goto(pages[name].as_uri())
        return page

    yield look
    context.close()
    assert not said


def require_sound(page):
    """Nothing sticks out to the side, and every chart that is shown has something in it."""
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    charts = page.query_selector_all("svg.chart")
    assert charts
    empty = [chart.get_attribute("aria-label") for chart in charts if not chart.evaluate(FILLED)]
    assert not empty


@pytest.mark.parametrize("name", ["run", "several"])
def test_the_page_is_sound_in_both_schemes(opened, name):
    page = opened(name)
    require_sound(page)
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    button = page.locator("#theme")
    other = button.inner_text()
    button.click()
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert before != after and button.inner_text() != other
    kept = page.evaluate("localStorage.getItem('yolor-theme')")
    assert kept
    for _ in range(20):  # what the browser keeps may reach the next page late; this one obeys it
        page.reload()
        if page.evaluate("localStorage.getItem('yolor-theme')") == kept:
            break
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after, "remembered"
    require_sound(page)


def test_links_lead_to_their_parts(opened):
    page = opened("run")
    links = page.locator(".bar nav a")
    assert links.count() == 7
    for link in links.all():
        link.click()
        part = page.locator(link.get_attribute("href"))
        assert 0 <= part.bounding_box()["y"] < 400 or page.evaluate(
            "innerHeight + scrollY >= document.documentElement.scrollHeight - 2"
        )


def test_boxes_can_be_hidden(opened):
    page = opened("run")

    def seen(kind):
        return page.locator(f"#photos-worst {kind}").locator("visible=true").count()

    kinds = {
        "Predicted": ".predicted rect", "True": ".true rect", "Right ones": ".right rect",
        "Names": "text",
    }  # fmt: skip
    for name, kind in kinds.items():
        there = seen(kind)
        assert there
        box = page.get_by_label(name, exact=True)
        box.uncheck()
        assert seen(kind) == 0, name
        box.check()
        assert seen(kind) == there
    assert page.locator("#photos-best").is_hidden()
    page.get_by_label("Best").check()
    assert page.locator("#photos-best").is_visible() and page.locator("#photos-worst").is_hidden()
    assert page.locator("#photos-best img").first.evaluate("img => img.naturalWidth") > 10


def test_classes_are_sorted(opened):
    page = opened("run")
    heads = page.locator("#classes th[scope=col]")
    for column in range(heads.count()):
        for direction in ("descending", "ascending"):
            heads.nth(column).locator("button").click()
            assert heads.nth(column).get_attribute("aria-sort") == direction
            cells = page.locator(f"#classes tbody tr > :nth-child({column + 1})").all_inner_texts()
            numbers = [float(cell) for cell in cells if cell != "-"] if column else cells
            assert numbers == sorted(numbers, reverse=direction == "descending")
            assert len(cells) == 6


def test_details_open(opened):
    page = opened("run")
    details = page.locator("#made details").first
    details.locator("summary").click()
    assert page.get_by_text("optim.learning_rate").is_visible()
    require_sound(page)


def test_boxes_of_several_runs_can_be_hidden(opened):
    page = opened("several")
    for number, name in enumerate(("first", "second", "third")):
        boxes = page.locator(f".run-{number} rect")
        assert boxes.locator("visible=true").count()
        page.get_by_label(name, exact=True).uncheck()
        assert boxes.locator("visible=true").count() == 0
    assert page.locator(".frame text").locator("visible=true").count() == 0
    page.get_by_label("Names", exact=True).check()
    page.get_by_label("True", exact=True).uncheck()
    assert page.locator(".true rect").locator("visible=true").count() == 0
