"""Images to try a network on: some of those that its run was evaluated on."""

from pathlib import Path as LocalPath

from yolor_jax.errors import InputError
from yolor_jax.paths import Path, is_local, user_path
from yolor_jax.preparation.dataset import is_prepared
from yolor_jax.runs import recipe as recipes
from yolor_jax.runs.sources import open_split


def examples(workdir: Path, number: int) -> list[bytes]:
    """Encoded images of the split that a run is evaluated on, spread over it.

    Args:
        workdir: of a run.
        number: how many at most.

    Raises:
        InputError: the data have not been prepared here, which may take long, or cannot be used.
        OSError: it is no run.
    """
    data = recipes.load(workdir).data
    path = user_path(data.path)
    ready = is_local(path) and is_prepared(path)
    if not ready and not LocalPath(data.prepared).is_dir():
        raise InputError(f"{data.path} has not been prepared in {data.prepared}")
    source = open_split(data, data.eval_split)
    count = min(number, len(source))
    return [source[i * len(source) // count].jpeg for i in range(count)]
