"""What somebody types as a path means the same wherever it is typed."""

import pathlib

import pytest

from yolor_jax.errors import InputError
from yolor_jax.paths import local_path, user_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("runs/first", "runs/first"),
        ("./a b", "a b"),
        ("/data/coco", "/data/coco"),
        ("~", "/home/me"),
        ("~/runs/first", "/home/me/runs/first"),
        ("runs/~first", "runs/~first"),
        ("file:///data/a%20b", "/data/a b"),
        ("file://localhost/data", "/data"),
        ("C:photo.jpg", "C:photo.jpg"),
        ("caf\udce9.jpg", "caf\udce9.jpg"),
    ],
)
def test_local_paths(monkeypatch, text, path):
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path(text) == pathlib.Path(path)
    assert user_path(pathlib.Path(path)) == local_path(text) == pathlib.Path(path)


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/x", "https://host/x", "gs:/bucket/x", "file://host/x", "a\0b", "~nobody-here"],
)
def test_what_is_no_path_is_refused(text):
    with pytest.raises(InputError, match=r"expected|no such home"):
        user_path(text)


def test_a_bucket_needs_its_library(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"yolor-jax\[gcs\]"):
        user_path("gs://bucket/runs")
