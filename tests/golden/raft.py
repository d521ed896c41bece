"""RAFT with random weights, the same in the golden file and in the test."""

import torch
from torch import nn
from torchvision.models.optical_flow import raft_large


def random_raft() -> nn.Module:
    """The large network; norms would do nothing with their first statistics, so all are random."""
    random = torch.Generator().manual_seed(0)
    network = raft_large().eval()
    for name, tensor in sorted(network.state_dict().items()):
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=random)
        if tensor.ndim > 1:
            tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
        else:
            tensor.copy_(0.1 * noise + (name.endswith(("running_var", ".1.weight"))))
    return network
