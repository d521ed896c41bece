import numpy as np

from rewardkit.media.scene import render


def test_a_scene_is_decided_by_its_size_and_seed():
    scene = render(64, 48, seed=1)
    assert scene.shape == (48, 64, 3)
    assert scene.dtype == np.uint8
    assert np.array_equal(scene, render(64, 48, seed=1))
    assert not np.array_equal(scene, render(64, 48, seed=2))


def test_a_scene_has_smooth_and_rough_parts_and_every_colour():
    scene = render(256, 192).astype(float)
    rough = np.abs(np.diff(scene, axis=1)).mean((1, 2))  # by row
    assert rough[170:].mean() > 5 * rough[:20].mean()  # meadow and sky
    assert {int(channel) for channel in scene.reshape(-1, 3).argmax(1)} == {0, 1, 2}
    assert 80 < scene.mean() < 140
