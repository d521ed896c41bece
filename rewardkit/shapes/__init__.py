"""Built-in models and prompts of coloured shapes at 32x32 pixels, with an exact detector.

They run every part of the package without the Hub, a GPU or a download.

`world` renders scenes, `prompts` describes them in GenEval's six tasks, `detect` finds the shapes
in an image, and `judge` decides whether an image shows what its prompt asks for. `weights/` holds
ordinary diffusers and transformers checkpoints that `python -m rewardkit.shapes.train NAME` trains
on rendered scenes; the rest of the package does not treat them specially.

`motion` has the prompts, rendering and judge of clips of moving shapes. Generators of clips can be
trained (`shapes-video-vae`, then `shapes-video` or `shapes-i2v`) but are not packaged yet.

To add a shape, add its mask to `world` and its plural to `prompts`, and train the models again.
"""
