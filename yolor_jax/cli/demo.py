"""Try a network on pictures in the browser, with its implicit knowledge on and off.

Serves a page on this machine: upload a picture, or take one of the data that the run was evaluated
on; move the thresholds, which act without running the network again; see what is found without
implicit knowledge beside it. Needs gradio: pip install 'yolor-jax[demo]'.

    yolor demo runs/quickstart
    yolor demo p6.safetensors --port 8080
"""

import argparse
import contextlib
import signal
import tempfile
from collections.abc import Sequence

from yolor_jax.cli.arguments import add_step_argument, any_path
from yolor_jax.errors import MENDABLE, sentence

EXAMPLES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor demo``."""
    parser.add_argument(
        "checkpoint", type=any_path, metavar="CHECKPOINT", help="workdir of a run, or a file"
    )
    add_step_argument(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0 lets other machines in (%(default)s: this one alone)",
    )
    parser.add_argument("--port", type=int, default=7860, help="(%(default)s); 0 for a free one")


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor demo`` until it is interrupted, and returns 0.

    Raises:
        InputError: no such checkpoint, or an address that cannot be listened at.
        ImportError: gradio is not installed.
    """
    from yolor_jax.cli.launch import quiet_libraries, use_compilation_cache
    from yolor_jax.demo.page import listen, make_page, serve
    from yolor_jax.runs.opening import load

    quiet_libraries()
    use_compilation_cache()
    trained = load(args.checkpoint, args.step)
    listening = listen(args.host, args.port)
    with listening, tempfile.TemporaryDirectory(prefix="yolor-demo-") as folder:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # or the folder would stay
        with contextlib.suppress(KeyboardInterrupt):  # the way to end it
            page = make_page(trained, str(args.checkpoint), _examples(args), folder)
            serve(page, folder, listening, ready=_say)
    return 0


def _examples(args: argparse.Namespace) -> Sequence[bytes]:
    """Pictures of the run's data; a sentence if there are none, and none of a file."""
    from yolor_jax.demo.examples import examples

    if args.checkpoint.is_file():
        return []
    try:
        return examples(args.checkpoint, EXAMPLES)
    except MENDABLE as error:
        print(f"no examples: {sentence(error)}")
        return []


def _say(url: str) -> None:
    print(f"the page is at {url} (Ctrl-C ends it)", flush=True)
