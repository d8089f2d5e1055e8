"""Put a network on the Hugging Face Hub, with a model card of what is known of it.

The repository is made if it is not there, and gets model.safetensors and README.md in one commit:
the weights with their metadata, and a card with data, recipe, numbers and their thresholds, licence
and the stamps of who made it. The stamps hold commands as they were typed. Needs huggingface_hub:
pip install 'yolor-jax[hub]', and a token that may write: HF_TOKEN, or `hf auth login`.

    yolor publish runs/csp hf://ORG/NAME --license apache-2.0 --step best --private
    yolor detect photos/ --checkpoint hf://ORG/NAME
"""

import argparse

from yolor_jax.cli.arguments import add_step_argument, any_path, local_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``yolor publish``."""
    parser.add_argument(
        "checkpoint", type=any_path, metavar="RUN", help="workdir of a run, or a file of weights"
    )
    parser.add_argument("address", metavar="hf://ORG/NAME", help="the repository")
    add_step_argument(parser)
    parser.add_argument(
        "--license", required=True, metavar="ID",
        help="of the weights, as the hub names it: apache-2.0, gpl-3.0, cc-by-4.0, other ...",
    )  # fmt: skip
    parser.add_argument(
        "--private", action="store_true", help="make it private, if it is not there yet"
    )
    parser.add_argument(
        "--certificate", type=local_path, metavar="FILE",
        help="a text that says how exact the weights are, as `yolor convert --verify` prints it",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs ``yolor publish`` and returns 0.

    Raises:
        InputError: no such network, or a repository that cannot be written to.
        OSError: no network connection.
        ImportError: huggingface_hub is not installed.
    """
    from yolor_jax.cli.launch import quiet_libraries
    from yolor_jax.runs.publication import publish
    from yolor_jax.weights import hub

    address = hub.parse(args.address)
    quiet_libraries()
    commit = publish(
        args.checkpoint,
        address,
        licence=args.license,
        private=args.private,
        step=args.step,
        certificate=args.certificate,
    )
    print(f"{commit}\nWhat to type next:\n  yolor detect IMAGE... --checkpoint {address}")
    return 0
