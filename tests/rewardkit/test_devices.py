import pytest

from rewardkit.devices import pick_device
from rewardkit.errors import UsageError


def test_the_processor_is_a_device():
    assert pick_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["meta", "nonsense", "", "cpu:x", "xla"])
def test_what_holds_no_numbers_here_is_refused_with_what_is_accepted(name):
    with pytest.raises(UsageError, match=r"cannot be used here.*Accepted: auto, cpu, cuda") as told:
        pick_device(name)
    # torch goes on with a thousand characters about how to build it.
    assert len(str(told.value)) < 300
