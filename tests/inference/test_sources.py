"""What arguments stand for; nothing of it is opened."""

import io
import pathlib

import pytest

from yolor_jax.inference.film import Film
from yolor_jax.inference.sources import Pictures, Sources, find


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names):
    for name in names:
        path = pathlib.Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(found):
    """Films by their place, pictures as lists of names."""
    return [
        source.place if isinstance(source, Film) else [str(file) for file in source.files]
        for source in found.sources
    ]


def test_each_kind_of_source(here):
    touch("a.jpg", "photo", "film.MP4", "more/b.png", "more/c.jpg", "7")
    arguments = ["a.jpg", "more/*", "film.MP4", "photo", "0", "rtsp://host/x", "7"]
    assert names(find(arguments)) == [
        ["a.jpg", "more/b.png", "more/c.jpg"],
        "film.MP4",
        ["photo"],
        0,
        "rtsp://host/x",
        ["7"],  # a file of that name goes before a camera
    ]


def test_folders_are_looked_through_by_choice_and_none_twice(here):
    touch("d/z.jpg", "d/in/a.jpg", "d/in/deep/b.jpg", "d/.hidden/c.jpg", "d/.d.jpg")
    pathlib.Path("d/in/up").symlink_to("..")
    pathlib.Path("d/link").symlink_to("../elsewhere")
    touch("elsewhere/e.jpg")
    assert names(find(["d"])) == [["d/z.jpg"]]
    deep = [["d/in/a.jpg", "d/in/deep/b.jpg", "d/link/e.jpg", "d/z.jpg"]]
    assert names(find(["d"], recursive=True)) == deep
    touch("only/in/a.jpg")
    assert "--recursive looks through" in find(["only"]).problems[0]


def test_what_is_passed_over_is_counted_by_kind(here):
    touch(
        "d/a.jpg", *(f"d/{i}.txt" for i in range(12)), "d/b.json", "d/c.json", "d/README", "d/f.mp4"
    )
    [said] = find(["d"]).passed_over
    assert said.startswith("d: passed over 16 files") and "12 .txt, 2 .json, 1 " in said
    assert "1 without ending" in said and "1 .mp4" in said and "films are named one by one" in said
    assert find(["d/a.jpg"]).passed_over == []


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_list_is_relative_to_its_folder(here, ends):
    touch("lists/a.jpg", "lists/in/film.avi", "b.jpg")
    text = ends.join(["a.jpg", "", " in/film.avi ", str(here / "b.jpg"), "gone.jpg"])
    pathlib.Path("lists/all.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = find(["lists/all.txt"])
    assert names(found) == [
        ["lists/a.jpg"],
        "lists/in/film.avi",
        [str(here / "b.jpg"), "lists/gone.jpg"],  # what is not there is seen when it is read
    ]
    pathlib.Path("empty.txt").touch()
    assert find(["empty.txt"]).problems == [
        "empty.txt: empty.txt lists no files; expected one a line"
    ]


def test_paths_on_standard_input(here, monkeypatch):
    class Stdin:
        buffer = io.BytesIO(b"a.jpg\ncaf\xe9.jpg\n")

    monkeypatch.setattr("sys.stdin", Stdin)
    [[first, second]] = names(find(["-"]))
    assert first == "a.jpg" and second.encode(errors="surrogateescape") == b"caf\xe9.jpg"


def test_arguments_that_name_nothing(here):
    touch("d/notes.txt")
    arguments = ["gone.jpg", "no*", "d", "gs://bucket/a.jpg", ""]
    problems = find(arguments).problems
    assert [problem.partition(":")[0] for problem in problems][:3] == ["gone.jpg", "no*", "d"]
    assert "no such file" in problems[0] and "no such file" in problems[1]
    assert "expected a local path" in problems[3]
    assert find([]) == Sources([], [], [])


def test_shares_are_disjoint_and_make_up_the_whole(here):
    files = [pathlib.Path(f"{i}.jpg") for i in range(7)]
    film, camera = Film("f.mp4"), Film(0)
    whole = Sources([Pictures(files[:4]), film, Pictures(files[4:]), camera], ["p"], ["o"])
    shares = [whole.share(number, 3) for number in (1, 2, 3)]
    assert [share.pictures for share in shares] == [3, 2, 2]
    together = [one for share in shares for one in share.sources]
    assert together.count(film) == together.count(camera) == 1
    listed = [file for one in together if isinstance(one, Pictures) for file in one.files]
    assert sorted(listed) == files
    assert whole.share(1, 1) == whole
    assert whole.share(12, 12).sources == []
