"""The paper's ablations of implicit knowledge, tables 1 to 6: one line each.

python train_main.py --config=configs/ablations.py:multiply_iFA_anchor --config.data.path=data/coco
"""

from yolor_jax.configs import coco640

FAST = {"name": "yolov4_csp_fast", "implicit": {}}
CSP = {"name": "yolov4_csp", "implicit": {}}
JDC = CSP | {"tasks": ("classify",)}  # joint detection and classification
JDE = CSP | {"tasks": ("embed",)}  # joint detection and embedding

ROWS = {
    "baseline": FAST,
    "add_iFA": FAST | {"implicit": {"alignment": "add"}},  # tables 1, 4 and, as the vector, 6
    "multiply_iFA": FAST | {"implicit": {"alignment": "multiply"}},
    "concat_iFA": FAST | {"implicit": {"alignment": "concat"}},
    "add_iPR": FAST | {"implicit": {"refinement": "add"}},  # tables 2 and 4
    "multiply_iPR": FAST | {"implicit": {"refinement": "multiply"}},
    "yolov4_csp": CSP,  # table 3, up to iJDE
    "JDC": JDC,
    "iJDC": JDC | {"implicit": {"branch": "add"}},
    "JDE": JDE,
    "iJDE": JDE | {"implicit": {"branch": "add"}},
    "multiply_iFA_anchor": FAST  # x iFA*
    | {"implicit": {"alignment": {"operator": "multiply", "scope": "anchor"}}},
    "multiply_iPR_size": FAST  # x iPR*
    | {"implicit": {"refinement": {"operator": "multiply", "scope": "size"}}},
    "add_iFA_network": FAST
    | {"implicit": {"alignment": {"operator": "add", "modelling": "network"}}},
    "add_iFA_factorization": FAST
    | {"implicit": {"alignment": {"operator": "add", "modelling": "factorization"}}},
}


def get_config(row="baseline"):
    """The settings of `coco640` on the model of a row."""
    if row not in ROWS:
        raise ValueError(f"no ablation {row!r}; expected one of {', '.join(ROWS)}")
    config = coco640.get_config(ROWS[row]["name"])
    for name, value in ROWS[row].items():
        config.model[name] = value
    return config
