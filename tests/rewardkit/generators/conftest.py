"""Tiny pipelines on the disk, for tests of what loads and samples them."""

import pytest


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """One folder per family; tests only read them."""
    # Imported here: other tests of this folder need not wait for diffusers.
    import tiny_pipelines

    home = tmp_path_factory.mktemp("pipelines")
    return {name: tiny_pipelines.saved(name, home) for name in tiny_pipelines.ALL}


@pytest.fixture(scope="session")
def loaded(folders):
    """The pipelines of `folders`; tests only sample them."""
    from rewardkit.generators.pipelines import load

    return {name: load(folder, device="cpu") for name, folder in folders.items()}


@pytest.fixture
def folder(tmp_path):
    """An SD of this test's own, to be changed."""
    import tiny_pipelines

    return tiny_pipelines.saved("sd", tmp_path)


@pytest.fixture
def lora(folder):
    """A LoRA for SD, in the folder and under the name that `save_lora_weights` chooses."""
    import torch
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig, get_peft_model_state_dict

    pipe = StableDiffusionPipeline.from_pretrained(folder)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"]))
    layers = get_peft_model_state_dict(pipe.unet)
    generator = torch.Generator().manual_seed(0)
    for tensor in layers.values():
        torch.nn.init.normal_(tensor, generator=generator)
    StableDiffusionPipeline.save_lora_weights(folder.parent / "lora", unet_lora_layers=layers)
    return folder.parent / "lora"
