"""Trains a detector, evaluates and folds it, and draws what it finds: ``yolor train`` as a file.

    python train_main.py                                    # the quickstart, minutes on a CPU
    python train_main.py --config=configs/coco128.py --config.data.path=FOLDER
    python train_main.py --config=configs/coco640.py:yolor_csp --workdir=runs/csp

The same command with the same workdir continues a run that was stopped.
"""

import sys

from yolor_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
