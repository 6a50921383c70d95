"""Makes the goldens of attention within documents (attn_mask_type block_causal) from TorchTitan itself.

    pip install torch==2.11.0 torchtitan==0.2.2 torchao==0.17.0 numpy safetensors
    python tests/golden/llama3_documents/make_goldens.py

The tiny Llama 3 of tests/golden/llama3_tiny, its tokenizer and its seed, on documents so short that rows of 48 tokens
hold several: TorchTitan's own model with attn_type flex, its dataset and its mask. FlexAttention is run as it is written
in PyTorch, uncompiled; PyTorch refuses gradients of it on a CPU, though the uncompiled form has them: that check is
switched off. Written beside this file:
  corpus/      the data
  losses.txt   step, loss, gradient norm (fp64) of each step, in fp32
"""

import importlib.util
import json
import pathlib

HERE = pathlib.Path(__file__).parent
TINY = HERE.parent / "llama3_tiny"
spec = importlib.util.spec_from_file_location("tiny", TINY / "make_goldens.py")
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch.nn.attention import flex_attention  # noqa: E402
from torchtitan.components.loss import cross_entropy_loss  # noqa: E402
from torchtitan.components.lr_scheduler import build_lr_schedulers  # noqa: E402
from torchtitan.components.tokenizer import HuggingFaceTokenizer  # noqa: E402
from torchtitan.config import LRScheduler  # noqa: E402
from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataset  # noqa: E402
from torchtitan.models import attention  # noqa: E402
from torchtitan.models.llama3.model import model as llama3  # noqa: E402
from torchtitan.models.llama3.model.args import TransformerModelArgs  # noqa: E402

attention.FlexAttentionWrapper._compiled_flex_attn = flex_attention.flex_attention
llama3.create_attention_mask = lambda *args: flex_attention.create_block_mask(*args, device="cpu")
flex_attention._validate_device = lambda *_: None


def make_corpus():
    (HERE / "corpus").mkdir(exist_ok=True)
    texts = []
    for line in (TINY / "corpus/corpus.json").read_text().splitlines():
        text = json.loads(line)["text"]
        while text:  # pieces of 11 to 59 characters
            size = 11 + len(texts) * 17 % 49
            texts.append(text[:size])
            text = text[size:]
    (HERE / "corpus/corpus.json").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def main():
    make_corpus()
    tokenizer = HuggingFaceTokenizer(str(TINY / "tokenizer"))
    samples = iter(
        HuggingFaceTextDataset(
            dataset_name="c4_test", dataset_path=str(HERE / "corpus"), tokenizer=tokenizer, seq_len=tiny.SEQ, infinite=True
        )
    )
    model = llama3.Transformer(
        TransformerModelArgs(
            dim=24,
            n_layers=2,
            n_heads=3,
            n_kv_heads=1,
            vocab_size=tiny.VOCAB,
            multiple_of=8,
            rope_theta=500000,
            max_seq_len=tiny.SEQ,
            attn_type="flex",
            attn_mask_type="block_causal",
        )
    )
    with torch.no_grad():
        model.init_weights()  # the rotary frequencies
    model.load_state_dict(load_file(TINY / "seed.safetensors"))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=tiny.LR, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True
    )
    schedule = build_lr_schedulers(
        [optimizer], LRScheduler(warmup_steps=2, decay_ratio=0.8, decay_type="linear", min_lr_factor=0.0), tiny.STEPS
    )
    lines = []
    for step in range(1, tiny.STEPS + 1):
        rows = [next(samples) for _ in range(tiny.BATCH)]
        inputs, labels = torch.stack([row[0]["input"] for row in rows]), torch.stack([row[1] for row in rows])
        optimizer.zero_grad()
        masks = model.get_attention_masks(inputs, tokenizer)
        loss = cross_entropy_loss(model(inputs, attention_masks=masks), labels) / labels.numel()
        loss.backward()
        lines.append(f"{step} {loss.item():.10f} {tiny.fp64_norm(model):.10f}")
        torch.nn.utils.clip_grad_norm_(model.parameters(), tiny.MAX_NORM, foreach=True)
        optimizer.step()
        schedule.step()
    (HERE / "losses.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
