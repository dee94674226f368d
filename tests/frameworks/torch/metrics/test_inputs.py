"""What a model's outputs are: its loss says so."""

import pytest
from torch import nn
from torch.nn import functional as F

from zoo.orca.frameworks.torch.metrics.inputs import scale_of


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        (nn.CrossEntropyLoss(), "logits"),
        (nn.BCEWithLogitsLoss(), "logits"),
        (F.binary_cross_entropy_with_logits, "logits"),
        (nn.BCELoss(), "probabilities"),
        (F.binary_cross_entropy, "probabilities"),
        (nn.NLLLoss(), "logarithms"),
        (nn.MSELoss(), None),
        (lambda output, target: (output - target).mean(), None),
        (None, None),
    ],
)
def test_the_loss_says_what_outputs_of_classes_are(loss, scale):
    assert scale_of(loss) == scale
