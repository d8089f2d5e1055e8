"""The page: a picture in, its boxes with implicit knowledge and without, side by side.

    page = make_page(load("runs/quickstart"), "runs/quickstart", examples, folder)
    serve(page, folder, listen("127.0.0.1", 7860), ready=print)

By gradio, the extra ``demo``. A picture goes through the network once, when it is chosen; sliders
and classes act on what was seen (`demo.showing`). Nothing is fetched from anywhere, and no file is
given out but those in the folder of the page.
"""

import functools
import ipaddress
import os
import pathlib
import socket
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

from yolor_jax.data.encoded import SUFFIXES, read_image
from yolor_jax.demo import markup
from yolor_jax.demo.inward import Inward
from yolor_jax.demo.showing import IOU, PIECES, SCORE, Showing
from yolor_jax.errors import InputError
from yolor_jax.runs.trained import Trained
from yolor_jax.stamp import STAMPS, described

THUMBNAIL = 160
"""Pixels of the longer side of an example."""
LARGEST_FILE = "100mb"
AN_HOUR = 3600
CHOOSE = "Choose a picture: upload one, or take one of the examples."
WITHOUT = (
    "Without: every g(z) is replaced by the neutral element of its operator, 0 where it is added "
    "or concatenated and 1 where it multiplies. All other weights stay: this is the same network, "
    "not one that was trained without implicit knowledge. Dashed boxes were found on one side "
    "only: no box of their class on the other side overlaps them by an IoU of 0.5."
)
ALONE = (
    "There is no implicit knowledge in this network that could be put out of effect: it is folded "
    "into the convolutions, or its model has none."
)
CSS = """
.gradio-container .main { max-width: 1360px !important; margin: 0 auto !important; }
.head h1 { font-size: 22px; margin: 4px 0 2px; }
.wrong { border-left: 3px solid #d97706; padding: 6px 12px; margin: 0; }
.head p, .notes p { margin: 4px 0; max-width: 90ch; color: var(--body-text-color); }
.message:not(:has(p)) { display: none; }
.examples .grid-wrap { min-height: 0 !important; max-height: none !important; }
.examples .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) !important;
  grid-auto-rows: auto !important; gap: 6px !important; padding-top: 26px !important; }
.examples .gallery-item { height: auto !important; }
.examples .thumbnail-item { height: auto !important; aspect-ratio: 1; }
@media (max-width: 640px) { .gradio-container .main { padding: 8px !important; } }
"""


def make_page(trained: Trained, name: str, examples: Sequence[bytes], folder: str) -> Any:
    """The page, as ``gradio.Blocks``; compiles the network.

    Args:
        trained: the network.
        name: of the run or file, as it was typed.
        examples: encoded pictures to choose from; the first is there at the start.
        folder: the only one whose files are given out; uploads go there.

    Raises:
        ImportError: gradio is not installed.
    """
    gr = _gradio(folder)
    showing = Showing(trained)

    def choose(data: bytes, what: str, *settings: Any) -> list[Any]:
        try:
            shown = showing.show(data, *settings)
        except InputError as error:
            return [None, _wrong(f"{what}: {error}"), *showing.nothing]
        return [data, _said(f"{what}, {shown.width} x {shown.height} pixels"), *shown.pieces]

    def upload(path: str, *settings: Any) -> list[Any]:
        file = pathlib.Path(path)
        return [*choose(file.read_bytes(), file.name, *settings), None]  # ready for the next one

    def take(event: gr.SelectData, *settings: Any) -> list[Any]:
        return choose(examples[event.index], f"example {event.index + 1}", *settings)

    def move(data: bytes | None, *settings: Any) -> list[str]:
        pieces = showing.show(data, *settings).pieces if data else showing.nothing
        return [pieces[i] for i in showing.moving]

    start = [None, _said(CHOOSE), *showing.nothing]
    if examples:
        start = choose(examples[0], "example 1", SCORE, IOU, [])
    html = functools.partial(gr.HTML, apply_default_css=False, js_on_load=None)
    with gr.Blocks(
        title=f"YOLOR: {name}", analytics_enabled=False, delete_cache=(AN_HOUR, AN_HOUR)
    ) as page:
        html(_head(trained, name), elem_classes="head")
        data = gr.State(start[0])
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                file = gr.File(label="Picture", file_types=[*SUFFIXES], height=120)
                gallery = _gallery(gr, examples)
                settings = _settings(gr, trained.class_names)
            with gr.Column(scale=3, min_width=320):
                message = html(start[1], elem_classes="message")
                with gr.Row():
                    pieces = _sides(gr, html, start[2:])
        html(_notes(trained, showing), elem_classes="notes")

        # By default gradio drops what is asked for while an answer is awaited. "always_last" asks
        # again at the end, with the settings of then, but with the picture of the first question.
        quietly = {"api_visibility": "private", "show_progress": "hidden"}
        each = {**quietly, "trigger_mode": "multiple"}
        everything = [data, message, *pieces]
        file.upload(upload, [file, *settings], [*everything, file], **each)
        gallery.select(take, settings, everything, **each)
        gr.on(
            [one.input for one in settings],
            move,
            [data, *settings],
            [pieces[i] for i in showing.moving],
            trigger_mode="always_last",
            **quietly,
        )
    return page


def _gallery(gr: Any, examples: Sequence[bytes]) -> Any:
    return gr.Gallery(
        [_thumbnail(one) for one in examples],
        label="Images of the run's data",
        columns=4,
        elem_classes="examples",
        allow_preview=False,
        interactive=False,
        buttons=[],
        visible=bool(examples),
    )


def _settings(gr: Any, class_names: Sequence[str]) -> list[Any]:
    """Score, IoU and classes, in the order in which `Showing.show` takes them."""
    slider = functools.partial(gr.Slider, 0, 1, step=0.01, buttons=[])
    overlap = "a box goes if a better one of its class overlaps it by more"
    return [
        slider(SCORE, label="Score", info="least score of a box"),
        slider(IOU, label="IoU", info=overlap),
        gr.Dropdown(
            [(name, label) for label, name in enumerate(class_names)],
            multiselect=True,
            label="Classes",
            info="all if none is chosen",
        ),
    ]


def _sides(gr: Any, html: Callable[..., Any], start: Sequence[str]) -> list[Any]:
    """A column for each side; its pieces in the order of `Shown.pieces`."""
    pieces = []
    for i in range(0, len(start), PIECES):
        caption, picture, overlay, table = start[i : i + PIECES]
        with gr.Column(min_width=300):
            pieces.append(html(caption))
            with gr.Column(elem_classes="stage", min_width=0):
                pieces.append(html(picture))
                pieces.append(html(overlay, elem_classes="overlay"))
            pieces.append(html(table))
    return pieces


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: address to listen at.
        port: 0 for any that is free.

    Raises:
        InputError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"cannot listen at {host}, port {port} ({error}); choose others with --host and --port"
        ) from error


def serve(
    page: Any, folder: str, listening: socket.socket, *, ready: Callable[[str], None]
) -> None:
    """Serves a page until SIGINT or SIGTERM.

    Args:
        page: of `make_page`.
        folder: the same.
        listening: of `listen`.
        ready: takes the URL when the page is about to be there.
    """
    gr = _gradio(folder)
    import uvicorn
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Inward)
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_loopback:  # another's name that leads here is none of ours
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", host, f"[{host}]"])
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        allowed_paths=[folder],
        max_file_size=LARGEST_FILE,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        css=CSS + markup.CSS,
        theme=_theme(gr),
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    server.run(sockets=[listening])


def _gradio(folder: str) -> Any:
    """gradio, which is told where to keep its files before it is imported, and to send nothing."""
    os.environ.update(
        GRADIO_TEMP_DIR=folder,
        GRADIO_EXAMPLES_CACHE=os.path.join(folder, "examples"),
        GRADIO_ANALYTICS_ENABLED="False",
        HF_HUB_OFFLINE="1",
    )
    try:
        import gradio
    except ImportError as error:
        raise ImportError("yolor demo needs gradio: pip install 'yolor-jax[demo]'") from error
    return gradio


def _theme(gr: Any) -> Any:
    """That of gradio in quieter colours, with the fonts of the machine and darker small print."""
    theme = gr.themes.Default(
        primary_hue="blue",
        neutral_hue="zinc",
        font=["system-ui", "sans-serif"],
        font_mono=["monospace"],
    )
    return theme.set(body_text_color_subdued="*neutral_600", block_info_text_color="*neutral_600")


def _thumbnail(data: bytes) -> np.ndarray:
    image = read_image(data)
    scale = THUMBNAIL / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _head(trained: Trained, name: str) -> str:
    meta = trained.meta
    facts = [
        meta["model"] + ", folded" * trained.fused,
        f"{len(trained.class_names)} classes",
        f"{trained.image_size} x {trained.image_size} pixels",
    ]
    return f"<h1>{escape(name)}</h1><p class='faint'>{escape(', '.join(facts))}</p>"


def _notes(trained: Trained, showing: Showing) -> str:
    said = [
        WITHOUT if len(showing.states) == 2 else ALONE,
        "Sliders and classes act on what the network saw when the picture was chosen: it is not "
        "run again.",
    ]
    if stamps := trained.meta.get(STAMPS):
        facts = dict(described(stamps[-1]))
        said.append(f"Made {facts.get('time', '')} by yolor-jax {facts.get('version', '')}.")
    return "".join(map(_said, said))


def _said(words: str) -> str:
    return f'<p class="faint">{escape(words)}</p>'


def _wrong(words: str) -> str:
    return f'<p class="wrong">{escape(words)}</p>'
