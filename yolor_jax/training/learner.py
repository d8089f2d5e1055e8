"""What is trained: a detector, and what its losses learn beside it.

Two things are learnt only to train: the linear classifier over the identities of the training data
(`tasks.identity`), and a log variance s for each task, by which tasks are weighed (Kendall et al.,
arXiv 1705.07115, as JDE does, arXiv 1909.12605, section 3.5): the loss of tasks i is
``sum_i (exp(-s_i) L_i + s_i) / 2``. Where they lie says `training.learnt`.

    module = learner(build("yolor_csp", 80), TaskLossConfig(weights="learnt"), identities=0)
    module.apply(variables, images).learnt["log_variance"]["detect"]
"""

import flax.linen as nn
from jaxtyping import Array, Float

from yolor_jax.errors import InputError
from yolor_jax.models.detector import Detector, Outputs
from yolor_jax.training.learnt import SUBTREE, TaskLoss
from yolor_jax.training.task_losses import TaskLossConfig


class Learner(Detector):
    """A detector in training, where data have identities or losses have parameters.

    Attributes:
        identities: of the training data; 0: none.
        classifier: whether they are learnt by a classifier.
        weighed: the tasks that have a log variance.
    """

    identities: int = 0
    classifier: bool = False
    weighed: tuple[str, ...] = ()

    @nn.compact
    def __call__(self, images: Float[Array, "B H W 3"], *, train: bool = False) -> Outputs:
        """As `Detector`, with the parameters of the losses as ``learnt``."""
        outputs = super().__call__(images, train=train)
        if not (self.classifier or self.weighed):
            return outputs
        classes = self.identities if self.classifier else 0
        learnt = TaskLoss(self.weighed, classes, self.spec.embedding, name=SUBTREE)()
        return outputs._replace(learnt=learnt)


def learner(module: Detector, config: TaskLossConfig, identities: int) -> Detector:
    """What is trained of a detector; the detector itself where losses learn nothing.

    Args:
        module: of the run.
        config: of its tasks.
        identities: of the training data; 0: none.

    Raises:
        InputError: a classifier over identities is asked for, and there are fewer than two; or the
            network lacks the tasks that the configuration is for.
    """
    tasks = module.spec.tasks
    if config.identities == "classifier" and "embed" not in tasks:
        raise InputError(
            "task_loss.identities is 'classifier', and the network embeds nothing; expected "
            "'embed' among --config.model.tasks"
        )
    if config.weights == "learnt" and not tasks:
        raise InputError(
            "task_loss.weights is 'learnt', and the network has no task beside detection; expected "
            "one or more of them as --config.model.tasks"
        )
    identities = identities if "embed" in tasks else 0
    classifier = config.identities == "classifier"
    if classifier and identities < 2:
        raise InputError(
            f"task_loss.identities is 'classifier', and the objects of the training split have "
            f"{identities} identities; expected two or more: give the annotations an 'identity' "
            "(docs/tasks.md), or use --config.task_loss.identities=contrast"
        )
    weighed = ("detect", *tasks) if config.weights == "learnt" else ()
    if not (identities or weighed):
        return module
    fields = {name: getattr(module, name) for name in Detector.__dataclass_fields__}
    del fields["parent"], fields["name"]
    return Learner(**fields, identities=identities, classifier=classifier, weighed=weighed)
