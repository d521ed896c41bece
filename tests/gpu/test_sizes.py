"""The networks of this tier are as large as the published ones; nothing is allocated here."""

import full_size
import pytest
import torch


@pytest.mark.parametrize("name", full_size.PARAMETERS)
def test_a_network_has_the_published_number_of_parameters(name):
    with torch.device("meta"):
        network = full_size.BUILDERS[name]()
    assert sum(p.numel() for p in network.parameters()) == full_size.PARAMETERS[name]
