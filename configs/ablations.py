"""The paper's ablations of implicit knowledge, tables 1 to 6: one line each.

yolor ablate table4 --data data/coco                       # as the paper has it, five seeds
yolor ablate table4 --recipe quickstart                    # the same rows of another recipe
python train_main.py --config=configs/ablations.py:multiply_iFA_anchor --config.data.path=data/coco

A row is what it changes of a recipe, by the names of the settings.
"""

from yolor_jax.configs import coco640

JDC = {"model.tasks": ("classify",)}  # joint detection and classification
JDE = {"model.tasks": ("embed",)}  # joint detection and embedding


def _implicit(**places):
    return {"model.implicit": places}


def _modelled(modelling):
    return _implicit(alignment={"operator": "add", "modelling": modelling})


ROWS = {
    "baseline": _implicit(),
    "add_iFA": _implicit(alignment="add"),  # tables 1, 4 and, as the vector, 6
    "multiply_iFA": _implicit(alignment="multiply"),
    "concat_iFA": _implicit(alignment="concat"),
    "add_iPR": _implicit(refinement="add"),  # tables 2 and 4
    "multiply_iPR": _implicit(refinement="multiply"),
    "add_iFA_multiply_iPR": _implicit(alignment="add", refinement="multiply"),  # as released
    "multiply_iFA_anchor": _implicit(alignment={"operator": "multiply", "scope": "anchor"}),  # iFA*
    "multiply_iPR_size": _implicit(refinement={"operator": "multiply", "scope": "size"}),  # iPR*
    "add_iFA_network": _modelled("network"),
    "add_iFA_factorization": _modelled("factorization"),
    "JD": _implicit(),  # detection alone, as table 3 has it
    "JDC": _implicit() | JDC,
    "iJDC": _implicit(branch="add") | JDC,
    "JDE": _implicit() | JDE,
    "iJDE": _implicit(branch="add") | JDE,
}
TABLES = {
    "table1": ("baseline", "add_iFA"),
    "table2": ("baseline", "add_iPR"),
    "table3": ("JD", "JDC", "iJDC", "JDE", "iJDE"),
    "table4": (
        "baseline", "add_iFA", "multiply_iFA", "concat_iFA", "add_iPR", "multiply_iPR",
    ),
    "table5": ("baseline", "multiply_iFA_anchor", "multiply_iPR_size"),
    "table6": ("baseline", "add_iFA", "add_iFA_network", "add_iFA_factorization"),
}  # fmt: skip
TABLES["detection"] = tuple(row for row in ROWS if row not in TABLES["table3"])
"""Rows by table, the baseline first; ``detection`` has those of all tables but the third."""
PAPER = {
    "baseline": 47.8, "add_iFA": 47.9, "multiply_iFA": 47.4, "concat_iFA": 47.8, "add_iPR": 47.8,
    "multiply_iPR": 48.0, "multiply_iFA_anchor": 47.9, "multiply_iPR_size": 48.1,
    "add_iFA_network": 47.8, "add_iFA_factorization": 48.0,
    "JD": 48.0, "JDC": 47.7, "iJDC": 48.1, "JDE": 48.1, "iJDE": 48.3,
}  # fmt: skip
"""AP in percent, on COCO's val2017 at 640 pixels, of one run each."""


def recipe_of(table):
    """The recipe whose rows the paper's table has."""
    return "coco640:yolov4_csp" if table == "table3" else "coco640:yolov4_csp_fast"


def get_config(row="baseline"):
    """The settings of `coco640` with those of a row."""
    if row not in ROWS:
        raise ValueError(f"no ablation {row!r}; expected one of {', '.join(ROWS)}")
    config = coco640.get_config("yolov4_csp" if row in TABLES["table3"] else "yolov4_csp_fast")
    config.update_from_flattened_dict(ROWS[row])
    return config
