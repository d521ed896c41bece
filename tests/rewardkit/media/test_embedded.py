import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rewardkit.errors import InputError
from rewardkit.media.embedded import embedded_prompt
from rewardkit.media.prompts import attach
from rewardkit.media.sources import Item

SETTINGS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 8x8"


def png(folder, **chunks):
    info = PngInfo()
    for name, text in chunks.items():
        info.add_itxt(name, text)
    Image.new("RGB", (8, 8)).save(folder / "x.png", pnginfo=info)
    return folder / "x.png"


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        (f"a cat\nNegative prompt: ugly\n{SETTINGS}", "a cat"),
        (f"a cat, (sitting:1.2)\non two lines\n{SETTINGS}", "a cat, (sitting:1.2)\non two lines"),
        ("a cat", "a cat"),
        (f"Negative prompt: ugly\n{SETTINGS}", None),
        (SETTINGS, None),
        ("Steps lead to a door", "Steps lead to a door"),
        ("", None),
    ],
)
def test_a1111_writes_prompt_and_settings(tmp_path, text, prompt):
    assert embedded_prompt(png(tmp_path, parameters=text)) == prompt


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + f"a façade\n{SETTINGS}".encode("utf-16-be"),
        b"UNICODE\0" + f"a façade\n{SETTINGS}".encode("utf-16-le"),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a1111_writes_a_comment_into_other_formats(tmp_path, comment, suffix):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    Image.new("RGB", (8, 8)).save(tmp_path / f"x.{suffix}", exif=exif)
    assert embedded_prompt(tmp_path / f"x.{suffix}") == "a façade"


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def graph(**changes):
    return {
        "3": node("KSampler", positive=["6", 0], negative=["7", 0], model=["4", 0], seed=1),
        "4": node("CheckpointLoaderSimple", ckpt_name="sd.safetensors"),
        "6": node("CLIPTextEncode", text=" a cat ", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="ugly", clip=["4", 1]),
        "9": node("SaveImage", filename_prefix="x", images=["8", 0]),
        **changes,
    }


FLUX = {
    "1": node("SamplerCustomAdvanced", guider=["2", 0], sampler=["5", 0]),
    "2": node("BasicGuider", model=["9", 0], conditioning=["3", 0]),
    "3": node("FluxGuidance", guidance=3.5, conditioning=["4", 0]),
    "4": node("CLIPTextEncodeFlux", clip_l="a cat", t5xxl="a cat", clip=["9", 1]),
}


@pytest.mark.parametrize(
    "nodes",
    [
        graph(),
        graph(**{"6": node("CLIPTextEncode", text=["8", 0]), "8": node("String", value="a cat")}),
        graph(**{"6": node("CLIPTextEncodeSDXL", text_g="a cat", text_l="a cat")}),
        graph(
            **{
                "3": node("KSamplerAdvanced", positive=["5", 0], negative=["5", 1]),
                "5": node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0]),
            }
        ),
        graph(**{"11": node("KSampler", positive=["6", 0], negative=["7", 0])}),  # hires fix
        graph(**{"6": node("Efficient Loader", positive="a cat", negative="ugly")}),
        FLUX,
    ],
)
def test_comfyui_writes_a_graph_whose_positive_text_is_the_prompt(tmp_path, nodes):
    assert embedded_prompt(png(tmp_path, prompt=json.dumps(nodes))) == "a cat"


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        (
            graph(
                **{
                    "6": node(
                        "ConditioningCombine", conditioning_1=["8", 0], conditioning_2=["7", 0]
                    ),
                    "8": node("CLIPTextEncode", text="a dog"),
                }
            ),
            "1 samplers to 2 texts .*a dog.*ugly|ugly.*a dog",
        ),
        (graph(**{"6": node("Reroute", input=["6", 0])}), "to 0 texts"),
        (graph(**{"6": node("CLIPTextEncode", text=["6", 0])}), "to 0 texts"),  # a loop
        ({"1": node("SaveImage")}, "from 0 samplers"),
        (["not", "a graph"], "not a ComfyUI graph"),
        ({"1": 2}, "not a ComfyUI graph"),
    ],
)
def test_a_graph_that_does_not_say_one_prompt_is_told(tmp_path, nodes, reason):
    with pytest.raises(InputError, match=reason):
        embedded_prompt(png(tmp_path, prompt=json.dumps(nodes)))


def test_a_hostile_chunk_does_no_harm(tmp_path):
    assert embedded_prompt(png(tmp_path, prompt="[" * 100_000)) is not None
    deep = {str(n): node("Reroute", conditioning=[str(n + 1), 0]) for n in range(5000)}
    start = {"s": node("KSampler", positive=["0", 0])}
    with pytest.raises(InputError, match="to 0 texts"):
        embedded_prompt(png(tmp_path, prompt=json.dumps({**start, **deep})))


def test_files_become_items_with_prompts_or_with_a_problem(tmp_path, caplog):
    made = [("a", {"parameters": "a cat"}), ("b", {}), ("c", {"prompt": "{}"})]
    items = []
    for name, chunks in made:
        path = tmp_path / f"{name}.png"
        png(tmp_path, **chunks).rename(path)
        items.append(Item(name, str(path)))
    (tmp_path / "d.png").write_bytes(b"no picture")
    items += [Item("d", str(tmp_path / "d.png")), Item("e", "gone.png", prompt="its own")]
    found = attach(items, from_metadata=True)
    assert [item.prompt for item in found] == ["a cat", None, None, None, "its own"]
    assert [item.problem is None for item in found] == [True, True, False, False, True]
    assert "0 samplers" in found[2].problem and "cannot be read as a picture" in found[3].problem
    assert [r.message for r in caplog.records] == [
        f"1 of 5 files hold no prompt, such as {items[1].path!r}"
    ]
