"""An architecture is added by its check list alone: Seed-OSS, a llama with biases of q, k and v."""

from __future__ import annotations

from tests.additions.testing import Copy, check_list

CONFIG = """
def _seed_oss(values: Hyperparameters, arguments: dict[str, Any]) -> PretrainedConfig:
    from transformers import SeedOssConfig

    return SeedOssConfig(**arguments, intermediate_size=_feed_forward(values))


"""
ROW = '        Architecture("seed_oss", _seed_oss),\n'
TINY = """
def _seed_oss() -> Tiny:
    from transformers import SeedOssConfig

    config = SeedOssConfig(
        **_SIZES, rope_parameters=_rope(), tie_word_embeddings=False, attention_bias=True
    )
    return Tiny("seed_oss", config)


MODELS["seed_oss"] = _seed_oss
"""
SCRIPT = """
from pathlib import Path
import torch
from backends.mlx.gguf.checkpoint.file import GGUFFile
from backends.mlx.gguf.model import network, testing

path = Path("tiny.gguf")
truth = testing.MODELS["seed_oss"]().write(path)
built = network.build(GGUFFile(path), torch.float32)
ids = torch.arange(1, 9)[None]
with torch.no_grad():
    expected, found = truth(ids).logits, built(ids).logits
assert expected.std() > 0.1
print(float((found - expected).abs().max() / expected.std()))
"""


def test_a_row_and_a_small_model(tmp_path):
    copy = Copy(tmp_path)
    path = "backends/mlx/gguf/model/architecture.py"
    copy.insert(path, "_FEED_FORWARD = ", CONFIG.lstrip("\n"))
    copy.insert(path, '        Architecture("gemma3"', ROW)
    copy.insert("backends/mlx/gguf/model/testing.py", "", TINY)
    assert float(copy.run(SCRIPT).split()[-1]) < 2e-4
    assert copy.touched == check_list("An architecture")
