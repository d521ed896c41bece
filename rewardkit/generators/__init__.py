"""Generators: pipelines of diffusers that are found, loaded and sampled.

    requests    what a generator is asked for: a prompt, a random seed, reference media
    references  the pictures that prompt lines name, checked
    protocol    how it is sampled, and the file in which a folder carries its own protocol
    pipelines   `load` and `generate`, the one loop that makes media
    families    what the call of a class of pipelines does not say, a row for each class
    arguments   a protocol and requests as arguments of a pipeline's call: defaults and checks
    latents     latents as a VAE takes them     decoding   latents -> pictures and clips
    aliases     generators that have a name here
    gallery     a folder of media with its manifest
    folders     pipelines in diffusers' layout, downloaded and read
    lora        LoRAs in the layouts of trainers; lora_hub, lora_settings
    exports     whether what a run has trained is whole
    noise       random numbers by address       placement  networks in a dtype and on a device

It may import `rewardkit.errors`, `devices`, `records`, `media` and `weights`. A new family is one
row in `families.FAMILIES`.
"""
