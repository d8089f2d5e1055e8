"""Evaluates a run, a file of weights, or a file of boxes: ``yolor eval`` as a file.

python eval_main.py --workdir=runs/quickstart
python eval_main.py --workdir=runs/quickstart --folded --backend=pycocotools
python eval_main.py --checkpoint=p6.safetensors --data=data/coco
"""

import sys

from yolor_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
