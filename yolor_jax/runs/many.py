"""Detection on many machines, by Ray Data: one actor a device, each with the folded network.

    from yolor_jax.runs.many import DetectBatch

    pictures = ray.data.read_binary_files("s3://bucket/photos", include_paths=True)
    found = pictures.map_batches(
        DetectBatch, fn_constructor_args=("runs/csp",), batch_format="pyarrow", concurrency=8,
        num_gpus=1,
    )
    found.write_parquet("s3://bucket/found")

`ManyDetection` does this for files that all machines see. Boxes are those of one machine. An actor
that is killed costs its batch, which Ray gives to another.
"""

import contextlib
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from yolor_jax.inference.formats import Writer
from yolor_jax.inference.frame import Encoded, Unread
from yolor_jax.inference.prediction import make_describe
from yolor_jax.inference.rows import Row, row_of
from yolor_jax.inference.sources import Pictures
from yolor_jax.inference.stream import stream
from yolor_jax.models.detector import require_multiple
from yolor_jax.preparation.parallel import on_cluster
from yolor_jax.runs.detection import Done, Speed
from yolor_jax.runs.opening import load
from yolor_jax.runs.trained import Trained

if TYPE_CHECKING:
    import pyarrow
    import ray

ROWS = 64
"""Pictures that an actor is given at once."""


class DetectBatch:
    """What `ray.data.Dataset.map_batches` calls, in the batch format ``pyarrow``."""

    def __init__(
        self,
        network: "Trained | str | os.PathLike | ray.ObjectRef",
        *,
        threads: int | None = None,
        **options: Any,
    ):
        """Loads the network, once for each actor.

        Args:
            network: or the path of a run or a file of weights, as `load` takes it, or what
                ``ray.put`` made of a network.
            threads: that read; one a core if None.
            **options: of `Trained.predictor`; eight images go through the network together unless
                they say otherwise.
        """
        trained = _opened(network)
        self._class_names = trained.class_names
        self._predictor = trained.predictor(**{"batch_size": 8, **options}).predictor
        self._threads = threads or len(os.sched_getaffinity(0))

    def __call__(self, batch: "pyarrow.Table") -> "pyarrow.Table":
        """Finds the objects in pictures.

        Args:
            batch: with a column ``path``, and if the pictures are read already, ``bytes``.

        Returns:
            A row for each: file, height, width, detections (name, label, score, box_xyxy, and
            vector if ``embed`` is one of the options), and error, a sentence, where it could not be
            read. Nothing else is null.
        """
        import pyarrow

        paths = batch.column("path").to_pylist()
        if "bytes" in batch.column_names:
            data = batch.column("bytes").to_pylist()
            items = [Encoded(path, one) for path, one in zip(paths, data, strict=True)]
        else:
            items = [pathlib.Path(path) for path in paths]
        seen = stream(items, self._predictor, threads=self._threads)
        rows = [self._row(one) for one in seen]
        return pyarrow.Table.from_pylist(rows, schema=_schema())

    def _row(self, seen) -> Row:
        if isinstance(seen, Unread):
            nothing = {"height": 0, "width": 0, "detections": []}
            return {"file": seen.source, **nothing, "error": seen.reason}
        frame, prediction = seen
        return row_of(frame.source, frame.size_hw, prediction, self._class_names) | {"error": None}


def _opened(network: "Trained | str | os.PathLike | ray.ObjectRef") -> Trained:
    if isinstance(network, str | os.PathLike):
        return load(network)
    if isinstance(network, Trained):
        return network
    import ray

    return ray.get(network)


def _schema() -> "pyarrow.Schema":
    import pyarrow

    numbers = pyarrow.list_(pyarrow.float32())
    box = {
        "name": pyarrow.string(),
        "label": pyarrow.int32(),
        "score": pyarrow.float64(),
        "box_xyxy": pyarrow.list_(pyarrow.float64()),
        "vector": numbers,
    }
    return pyarrow.schema(
        {
            "file": pyarrow.string(),
            "height": pyarrow.int32(),
            "width": pyarrow.int32(),
            "detections": pyarrow.list_(pyarrow.struct(box)),
            "error": pyarrow.string(),
        }
    )


class ManyDetection:
    """One go through pictures on a Ray cluster; its user sees what a `Detection` shows."""

    def __init__(
        self,
        trained: Trained,
        writer: Writer,
        address: str,
        options: Mapping[str, Any],
        *,
        stop: Callable[[], bool] = lambda: False,
    ):
        """Prepares it.

        Args:
            trained: the network; goes to the actors, folded unless ``options`` say otherwise.
            writer: takes the rows, and knows which are there already: these are passed over.
            address: of the cluster, or ``"local"``.
            options: of `DetectBatch`.
            stop: asked after each batch.

        Raises:
            InputError: an option that does not fit, as of `Trained.predictor`.
        """
        side = options.get("image_size") or trained.image_size
        require_multiple((side, side), trained.spec.strides[-1])
        trained.labels(options.get("classes"))
        if options.get("embed"):
            make_describe(trained.module)
        self._trained = trained
        self._writer = writer
        self._address = address
        self._options = {"fold": True, **options}
        self._stop = stop
        self._frames = 0
        self._seconds = 0.0

    def each(self, sources: Iterable[Pictures]) -> Iterator[Done | Unread]:
        """Goes through pictures, which every machine can read under these names.

        Yields:
            What was found, once it is on disk, or why it could not be read, as it is done.

        Raises:
            InputError: there is no such Ray cluster, or Ray is not installed.
            OSError: a row cannot be written, or the actors fail again and again.
        """
        files = [file for source in sources for file in source.files]
        wanted = [file for file in files if (str(file), None) not in self._writer.done]
        started = time.perf_counter()
        with contextlib.closing(self._rows(wanted)) as rows:
            for row in rows:
                if error := row.pop("error"):
                    yield Unread(error, row["file"])
                    continue
                self._writer.add(row)
                self._frames += 1
                self._seconds = time.perf_counter() - started
                yield Done(row, frames=1)

    def speed(self) -> Speed:
        """Of what was done until now, the start of the actors included."""
        return Speed(self._frames, self._seconds, busy=None, compile_seconds=None)

    def _rows(self, files: Sequence[pathlib.Path]) -> Iterator[Row]:
        names = {os.path.abspath(file): str(file) for file in files}
        fold = self._options["fold"] and not self._trained.fused
        network = self._trained.folded() if fold else self._trained
        with on_cluster(self._address) as ray:
            from ray.data import DataContext

            logging.getLogger("ray.data").setLevel(logging.ERROR)
            DataContext.get_current().enable_progress_bars = False
            found = ray.data.from_items([{"path": path} for path in names]).map_batches(
                DetectBatch,
                fn_constructor_args=(ray.put(network),),
                fn_constructor_kwargs=self._options,
                batch_format="pyarrow",
                batch_size=ROWS,
                **_actors(ray),
            )
            try:
                for table in found.iter_batches(batch_format="pyarrow", batch_size=None):
                    for row in table.to_pylist():
                        yield _as_written(row, names[row["file"]])
                    if self._stop():
                        return
            except ray.exceptions.RayError as error:
                raise OSError(f"Ray has given up: {str(error).strip().splitlines()[-1]}") from error


def _as_written(row: Row, name: str) -> Row:
    """With the name that was given, and without the empty vectors that Arrow has."""
    boxes = [
        {name: value for name, value in box.items() if value is not None}
        for box in row["detections"]
    ]
    error = row["error"] and row["error"].replace(row["file"], name)
    return row | {"file": name, "detections": boxes, "error": error}


def _actors(ray: Any) -> dict[str, Any]:
    """One for each GPU of the cluster; where there is none, one for each machine."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    if gpus:
        return {"compute": ray.data.ActorPoolStrategy(size=gpus), "num_gpus": 1}
    machines = sum(node["Alive"] for node in ray.nodes())
    return {"compute": ray.data.ActorPoolStrategy(size=machines), "num_cpus": 1}
