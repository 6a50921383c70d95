"""Makes the goldens of tests/parity from TorchTitan itself.

    pip install torch==2.11.0 torchtitan==0.2.2 torchao==0.17.0 numpy safetensors
    python tests/golden/llama3_tiny/make_goldens.py

A tiny Llama 3 with odd sizes (3 heads, 1 KV head, FFN 64, sequence 48) trains for 10 steps by TorchTitan's own model,
dataset, tokenizer, loss and learning-rate schedule and torch's fused AdamW, in fp32 on a CPU. The data are the first
paragraphs of this project's corpus: few, so that the dataset loops. Written beside this file:
  corpus/, tokenizer/      the data and a byte-level BPE of 320 tokens made from it
  seed.safetensors         the weights before step 1, by FQN
  tokens.safetensors       what TorchTitan's dataset gave: [steps, batch, seq + 1]
  grads_step1.safetensors  every gradient of step 1 before clipping
  logits.safetensors       the logits of step 1's first row at the seed weights, and the rotary frequencies
  losses.txt               step, loss, gradient norm (fp64) of each step, in fp32
  losses_bf16.txt          the same with bfloat16 compute copies of fp32 parameters
  losses_6_heads.txt       the same in fp32 of 6 heads in 2 groups: the same weights, and heads that two ranks share
"""

import json
import math
import os
import pathlib

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

import torch
import torch._utils
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

torch._utils._get_available_device_type = lambda: "cpu"  # TorchTitan assumes an accelerator

from torchtitan.components.lr_scheduler import build_lr_schedulers  # noqa: E402
from torchtitan.components.tokenizer import HuggingFaceTokenizer  # noqa: E402
from torchtitan.components.loss import cross_entropy_loss  # noqa: E402
from torchtitan.config import LRScheduler  # noqa: E402
from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataset  # noqa: E402
from torchtitan.models.llama3.model.args import TransformerModelArgs  # noqa: E402
from torchtitan.models.llama3.model.model import Transformer  # noqa: E402

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent.parent
STEPS, BATCH, SEQ, VOCAB = 10, 3, 48, 320
LR, MAX_NORM = 8e-4, 0.3  # every step is clipped


def make_corpus():
    with open(ROOT / "assets/corpus/train.jsonl") as lines:
        texts = [json.loads(line)["text"][:350] for line, _ in zip(lines, range(6))]
    (HERE / "corpus").mkdir(exist_ok=True)
    (HERE / "corpus/corpus.json").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return texts


def make_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCAB,
            special_tokens=["<|begin_of_text|>", "<|end_of_text|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    (HERE / "tokenizer").mkdir(exist_ok=True)
    tokenizer.save(str(HERE / "tokenizer/tokenizer.json"))
    (HERE / "tokenizer/tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}, indent=2) + "\n"
    )


def build(groups=1):
    torch.manual_seed(42)
    args = TransformerModelArgs(
        dim=24,
        n_layers=2,
        n_heads=3 * groups,
        n_kv_heads=groups,
        vocab_size=VOCAB,
        multiple_of=8,
        rope_theta=500000,
        max_seq_len=SEQ,
    )
    model = Transformer(args)
    with torch.no_grad():
        model.init_weights()
    return model


def batches():
    dataset = HuggingFaceTextDataset(
        dataset_name="c4_test",
        dataset_path=str(HERE / "corpus"),
        tokenizer=HuggingFaceTokenizer(str(HERE / "tokenizer")),
        seq_len=SEQ,
        infinite=True,
    )
    samples = iter(dataset)
    for _ in range(STEPS):
        rows = [next(samples) for _ in range(BATCH)]
        yield torch.stack([row[0]["input"] for row in rows]), torch.stack([row[1] for row in rows])


def fp64_norm(model):
    return math.sqrt(sum(float(p.grad.double().pow(2).sum()) for p in model.parameters()))


def train(data, autocast, on_first_gradients=None, groups=1):
    model = build(groups)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LR, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True
    )
    schedule = build_lr_schedulers(
        [optimizer], LRScheduler(warmup_steps=2, decay_ratio=0.8, decay_type="linear", min_lr_factor=0.0), STEPS
    )
    lines = []
    for step, (inputs, labels) in enumerate(data, start=1):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = cross_entropy_loss(model(inputs), labels) / labels.numel()
        loss.backward()
        norm = fp64_norm(model)
        if step == 1 and on_first_gradients:
            on_first_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM, foreach=True)
        optimizer.step()
        schedule.step()
        lines.append(f"{step} {loss.item():.10f} {norm:.10f}")
    return "\n".join(lines) + "\n"


def main():
    make_tokenizer(make_corpus())
    data = list(batches())
    rows = torch.stack([torch.cat([inputs, labels[:, -1:]], dim=1) for inputs, labels in data])
    save_file({"tokens": rows.to(torch.int32)}, HERE / "tokens.safetensors")

    model = build()
    save_file({name: p.detach().clone() for name, p in model.named_parameters()}, HERE / "seed.safetensors")
    with torch.no_grad():
        logits = model(data[0][0][:1])[0]
    save_file(
        {"logits": logits.clone(), "freqs_cis": torch.view_as_real(model.freqs_cis).clone()},
        HERE / "logits.safetensors",
    )

    def save_gradients(trained):
        save_file({name: p.grad.clone() for name, p in trained.named_parameters()}, HERE / "grads_step1.safetensors")

    (HERE / "losses.txt").write_text(train(data, False, save_gradients))
    (HERE / "losses_bf16.txt").write_text(train(data, True))
    (HERE / "losses_6_heads.txt").write_text(train(data, False, groups=2))


if __name__ == "__main__":
    main()
