"""The paper's ablations of implicit knowledge, tables 1, 2, 4, 5 and 6: YOLOv4-CSP-fast at 640.

python train_main.py --config=configs/ablations.py:multiply_iFA_anchor --config.data.path=data/coco
"""

from configs import coco640

# Table 3 needs the heads of several tasks.
ROWS = {
    "baseline": {},
    "add_iFA": {"alignment": "add"},  # tables 1, 4 and, as the vector, 6
    "multiply_iFA": {"alignment": "multiply"},
    "concat_iFA": {"alignment": "concat"},
    "add_iPR": {"refinement": "add"},  # tables 2 and 4
    "multiply_iPR": {"refinement": "multiply"},
    "multiply_iFA_anchor": {"alignment": {"operator": "multiply", "scope": "anchor"}},  # x iFA*
    "multiply_iPR_size": {"refinement": {"operator": "multiply", "scope": "size"}},  # x iPR*
    "add_iFA_network": {"alignment": {"operator": "add", "modelling": "network"}},
    "add_iFA_factorization": {"alignment": {"operator": "add", "modelling": "factorization"}},
}


def get_config(row="baseline"):
    """The settings of `coco640` on the model of the ablations, with one row's knowledge."""
    if row not in ROWS:
        raise ValueError(f"no ablation {row!r}; expected one of {', '.join(ROWS)}")
    config = coco640.get_config("yolov4_csp_fast")
    config.model.implicit = ROWS[row]
    return config
