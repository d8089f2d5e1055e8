"""Weights on a stand-in of the hub: what is fetched, kept, compared, refused and asked."""

import pytest

from tests.support.hub_server import TOKEN, Repository
from yolor_jax.errors import InputError
from yolor_jax.weights import hub

DATA = bytes(range(256)) * 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://org/name", ("org/name", None, "model.safetensors")),
        ("hf://org/name@v1.0", ("org/name", "v1.0", "model.safetensors")),
        ("hf://o-1/n.a_me@0a1b/in/yolor_p6.pt", ("o-1/n.a_me", "0a1b", "in/yolor_p6.pt")),
    ],
)
def test_addresses(text, expected):
    assert hub.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["hf://", "hf://name", "hf://org/", "hf://org/na me", "hf://org/name@", "hf://o/../x"]
)
def test_what_is_no_address_is_a_sentence(text):
    with pytest.raises(InputError, match=r"expected hf://ORG/NAME"):
        hub.parse(text)


def test_a_file_is_fetched_once_and_taken_from_the_cache_without_a_network(served):
    served.repositories["org/name"] = Repository({"model.safetensors": DATA})
    path = hub.fetch("hf://org/name")
    assert path.read_bytes() == DATA
    place = "/org/name/resolve/main/model.safetensors"
    assert {url for _, url in served.asked} == {place}  # nothing else is asked, of nobody
    assert [method for method, _ in served.asked].count("GET") == 1
    assert hub.fetch("hf://org/name") == path
    assert [method for method, _ in served.asked].count("GET") == 1
    served.status = 503
    assert hub.fetch("hf://org/name") == path


def test_another_revision_and_another_file(served):
    old = {"model.safetensors": DATA[::-1], "weights/yolor_p6.pt": b"PK" + DATA}
    served.repositories["org/name"] = Repository({"model.safetensors": DATA}, tags={"v1": old})
    assert hub.fetch("hf://org/name@v1").read_bytes() == DATA[::-1]
    assert hub.fetch("hf://org/name@v1/weights/yolor_p6.pt").read_bytes() == b"PK" + DATA
    assert hub.fetch("hf://org/name").read_bytes() == DATA


def test_a_connection_that_breaks_is_taken_up_where_it_broke(served):
    served.repositories["org/name"] = Repository({"model.safetensors": DATA}, break_after=1000)
    assert hub.fetch("hf://org/name").read_bytes() == DATA
    assert [method for method, _ in served.asked].count("GET") == 2


@pytest.mark.parametrize(
    ("repository", "text", "sentence"),
    [
        (None, "hf://org/name", "is not on the hub, or is private.*HF_TOKEN"),
        (Repository({}, private=True), "hf://org/name", "is not on the hub, or is private"),
        (Repository({}, gated=True), "hf://org/name", "is gated: ask for access.*HF_TOKEN"),
        (Repository({"a.bin": DATA}), "hf://org/name", "has no file model.safetensors; .* a.bin:"),
        (Repository({}), "hf://org/name", "it has none"),
        (Repository({}), "hf://org/name@v9", "there is no revision v9"),
    ],
    ids=["404", "private", "gated", "no safetensors", "empty", "revision"],
)
def test_refusals_are_sentences(served, repository, text, sentence):
    if repository is not None:
        served.repositories["org/name"] = repository
    with pytest.raises(InputError, match=sentence) as error:
        hub.fetch(text)
    assert str(error.value).startswith("hf://org/name") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (401, InputError, "who you are"),
        (403, InputError, "may not be used with this token"),
        (503, OSError, "answers 503"),
    ],
)
def test_other_answers_are_sentences(served, status, kind, sentence):
    served.status = status
    with pytest.raises(kind, match=sentence) as error:
        hub.fetch("hf://org/name")
    assert "\n" not in str(error.value)


def test_no_network_is_a_sentence(served, monkeypatch):
    from huggingface_hub import constants

    address = "http://127.0.0.1:9"  # where nobody listens
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(OSError, match=r"cannot be reached, and model\.safetensors .* not fetched"):
        hub.fetch("hf://org/name")


def test_bytes_of_another_checksum_are_refused_and_not_kept(served):
    served.repositories["org/name"] = Repository({"model.safetensors": DATA}, spoil=True)
    with pytest.raises(InputError, match=r"SHA-256 .* deleted, fetch it again"):
        hub.fetch("hf://org/name")
    served.repositories["org/name"].spoil = False
    path = hub.fetch("hf://org/name")
    assert path.read_bytes() == DATA
    path.resolve().write_bytes(DATA[:-1])  # a disk that lost something since
    with pytest.raises(InputError, match="SHA-256"):
        hub.fetch("hf://org/name")


def test_a_private_one_with_a_token(served, monkeypatch):
    served.repositories["org/name"] = Repository({"model.safetensors": DATA}, private=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert hub.fetch("hf://org/name").read_bytes() == DATA


def test_a_card_that_the_hub_does_not_take_is_a_sentence(served, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (tmp_path / "card").write_text('---\nlicense: "Apache 2"\n---\n')
    with pytest.raises(InputError, match=r'hf://org/new is refused: .*"license" must be') as error:
        files = {"README.md": tmp_path / "card"}
        hub.push(hub.parse("hf://org/new"), files, private=True, message="first")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["org/a--b", "org/x.git", "org/name-"])
def test_a_name_that_the_hub_does_not_take_is_a_sentence(served, name):
    with pytest.raises(InputError, match=f"hf://{name} is refused"):
        hub.fetch(f"hf://{name}")


def test_files_are_pushed_in_one_commit(served, tmp_path, monkeypatch):
    (tmp_path / "w").write_bytes(DATA)
    (tmp_path / "card").write_text("# A card\n")
    files = {"model.safetensors": tmp_path / "w", "README.md": tmp_path / "card"}
    address = hub.parse("hf://org/new")
    with pytest.raises(InputError, match="HF_TOKEN"):
        hub.push(address, files, private=True, message="first")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for _ in range(2):  # once more where it is there
        url = hub.push(address, files, private=True, message="first")
        assert url.startswith(f"{served.address}/org/new/commit/")
    there = served.repositories["org/new"]
    assert there.private and there.files == {"model.safetensors": DATA, "README.md": b"# A card\n"}
    with pytest.raises(InputError, match="may not be used with this token"):
        hub.push(hub.parse("hf://other/new"), files, private=False, message="first")
