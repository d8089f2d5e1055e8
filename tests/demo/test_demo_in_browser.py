"""`yolor demo` in a browser: upload, slide, read the boxes; and what it keeps to itself."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest

from tests.support.browser import visiting
from tests.support.leaves import random_leaves
from tests.support.saved_run import META, save_run
from tests.support.small_recipe import small_recipe, typed
from yolor_jax.models.detector import build, variable_shapes
from yolor_jax.preparation import shapes
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.opening import load

pytestmark = pytest.mark.long
BOXES = ".boxes tbody tr"
LISTENING_IN = """
import sys
from yolor_jax.cli.main import main
def hear(event, words):
    if event in ("socket.connect", "socket.getaddrinfo"):
        with open("asked.txt", "a") as file:
            print(event, words, file=file)
sys.addaudithook(hear)
sys.exit(main())
"""
ROWS = "document.querySelectorAll('.boxes')[0]?.querySelectorAll('tbody tr').length"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The workdir of a run whose network finds something everywhere, at all scores."""
    variables = random_leaves(variable_shapes(build("yolor_test", META["num_classes"])))
    for unit in variables["params"]["head"].values():
        unit["conv"]["kernel"] = 3 * unit["conv"]["kernel"]
    folder = tmp_path_factory.mktemp("work") / "run"
    save_run(folder, variables)
    sizes = {"train": 1, "validation": 5}
    data = shapes.prepare(tmp_path_factory.mktemp("data"), sizes=sizes, progress=False)
    recipes.save(typed(small_recipe(data)), folder)
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "noise.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8))
    return path


@contextlib.contextmanager
def serving(run, temporary, *words):
    """Serves the run from its parent folder; gives the process and the URL."""
    pytest.importorskip("gradio", reason="no gradio: pip install -e .[demo]")
    command = [sys.executable, "-c", LISTENING_IN, "demo", run, "--port", "0", *words]
    process = subprocess.Popen(
        [*map(str, command)],
        cwd=run.parent,
        env=os.environ | {"TMPDIR": str(temporary), "XLA_FLAGS": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stdout:
            if found := re.search(r"http://\S+", line):
                break
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    with serving(run, tmp_path_factory.mktemp("temporary")) as (_, url):
        yield url


def rows(visit, side):
    """Class, score and corners of each box that a side lists."""
    table = visit.page.locator(".boxes").nth(side)
    cells = [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]
    return [(name, *map(float, numbers)) for name, *numbers in cells]


def expected(trained, picture, **settings):
    [found] = trained.predictor(**settings)(cv2.imread(str(picture))[..., ::-1].copy())
    return [
        (name, pytest.approx(score, abs=5.1e-4), *(pytest.approx(v, abs=0.051) for v in box))
        for name, score, box in zip(
            found.names, found.scores, found.boxes_xyxy.tolist(), strict=True
        )
    ][:50]


def network_time(visit):
    return re.search(r"network (\d+ ms)", visit.page.locator(".caption").first.inner_text())[1]


def upload(visit, path):
    """Uploads a picture and waits for what is said of it."""
    visit.page.wait_for_selector(BOXES)  # of the example that is there at the start
    visit.page.locator("input[type=file]").set_input_files(path)
    visit.page.locator(".message p", has_text=path.name).wait_for()


def test_upload_slide_and_read_the_boxes(run, page, picture):
    trained = load(run)
    with visiting(page) as visit:
        upload(visit, picture)
        assert rows(visit, 0) == expected(trained, picture)
        without = rows(visit, 1)
        assert without and without != rows(visit, 0)
        time_of_network = network_time(visit)

        score = visit.page.locator("input[type=range]").first
        for _ in range(5):
            score.press("ArrowRight")
        slid = expected(trained, picture, score=0.3)
        visit.page.wait_for_function(f"{ROWS} == {len(slid)}")
        assert rows(visit, 0) == slid and len(slid) != len(expected(trained, picture))
        visit.page.locator("input[type=number]").nth(1).fill("0.1")
        strict = expected(trained, picture, score=0.3, iou=0.1)
        visit.page.wait_for_function(f"{ROWS} == {len(strict)}")
        assert rows(visit, 0) == strict and len(strict) < len(slid)
        assert network_time(visit) == time_of_network

        visit.page.get_by_label("Classes").click()
        visit.page.get_by_role("option", name="dog").click()
        dogs = expected(trained, picture, score=0.3, iou=0.1, classes=["dog"])
        visit.page.wait_for_function(f"{ROWS} == {len(dogs)}")
        assert rows(visit, 0) == dogs and {row[0] for row in dogs} == {"dog"}
        shown = visit.page.locator(".overlay .overlay").first.locator(".box b").all_inner_texts()
        assert len(shown) == len(dogs) and all(text.startswith("dog ") for text in shown)
        assert visit.complaints == [] and visit.outside == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_nothing_overflows_and_boxes_lie_on_the_picture(page, picture, width, scheme):
    with visiting(page, width=width, scheme=scheme) as visit:
        upload(visit, picture)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        image = visit.page.locator(".stage img").first.bounding_box()
        overlay = visit.page.locator(".overlay .overlay").first.bounding_box()
        for name, value in image.items():
            assert overlay[name] == pytest.approx(value, abs=1)
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
        assert (brightness < 80) == (scheme == "dark")
        assert visit.complaints == []


def test_what_is_no_picture_is_a_sentence(run, page, tmp_path, picture):
    (tmp_path / "text.jpg").write_text("hello")
    with visiting(page) as visit:
        upload(visit, tmp_path / "text.jpg")
        assert "no image of a known format" in visit.page.locator(".wrong").inner_text()
        assert visit.page.locator(".boxes").count() == visit.page.locator(".stage img").count() == 0
        for i in (1, 2, 3):  # before the first is there
            visit.page.locator(".thumbnail-item").nth(i).click()
        visit.page.locator(".message p", has_text="example 4").wait_for()
        upload(visit, picture)
        assert visit.page.locator(".wrong").count() == 0
        assert rows(visit, 0) == expected(load(run), picture)


def status(url, **request):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, **request)).status
    except urllib.error.HTTPError as error:
        return error.code


def test_nothing_else_is_given_out_or_fetched(run, page):
    secret = run.parent / "secret.txt"
    secret.write_text("mine")
    cached = run.parent / ".gradio" / "cached_examples" / "old.txt"  # gradio's own default
    cached.parent.mkdir(parents=True)
    cached.write_text("mine")
    for path in (secret, cached, run / "checkpoints", "/etc/passwd"):
        assert status(f"{page}/gradio_api/file={path}") == 403
    assert status(f"{page}/gradio_api/file=https://example.com/a.png") == 403
    assert status(page) == 200
    assert status(page, headers={"Host": "example.com"}) == 400
    file = {"path": "https://example.com/a.png", "meta": {"_type": "gradio.FileData"}}
    event = {"data": [file, 0.25, 0.45, []], "fn_index": 0, "session_hash": "a"}
    for path in ("queue/join", "run/predict", "api/predict"):
        body = json.dumps(event).encode()
        headers = {"Content-Type": "application/json"}
        assert status(f"{page}/gradio_api/{path}", data=body, headers=headers) == 403


def test_nothing_was_asked_of_the_network(run, page):
    """By any of the tests above, which are what people do with it."""
    assert not (run.parent / "asked.txt").exists()


def test_it_ends_with_its_folder(run):
    with tempfile.TemporaryDirectory() as folder, serving(run, folder) as (process, _):
        assert len(os.listdir(folder)) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert os.listdir(folder) == []
