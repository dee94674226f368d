"""Where PyTorch's models are: on the GPUs that a worker was promised, or on the processor."""

import pytest

torch = pytest.importorskip("torch")

from zoo.orca.errors import DeviceError  # noqa: E402
from zoo.orca.frameworks.torch.device import device  # noqa: E402


def test_without_gpus_the_processor_even_where_there_are_some(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device(0) == torch.device("cpu")


def test_with_gpus_the_first_that_the_process_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device(2) == torch.device("cuda", 0)


def test_gpus_that_pytorch_cannot_see_are_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError) as caught:
        device(1)
    assert str(caught.value) == (
        f"num_gpus_per_worker=1, and PyTorch {torch.__version__} sees no GPU on this worker\n"
        "Install a build of torch for CUDA there, or train on processors with "
        "num_gpus_per_worker=0"
    )
