"""Makes the goldens of tests/parity/qwen3_tiny_test.cpp from TorchTitan's Qwen 3 and from `transformers`.

    pip install torch==2.11.0 torchtitan==0.2.2 torchao==0.17.0 transformers==4.57.6 numpy safetensors
    python tests/golden/qwen3_tiny/make_goldens.py

A tiny Qwen 3 with tied weights and odd sizes (6 heads of 8 in 2 groups over a width of 20, FFN 44, sequence 48), whose
norms are no ones, so that each of them counts. Data and tokenizer are those of ../llama3_tiny. The two libraries must
agree on logits and gradients before anything is written. Written beside this file:
  hf/                          the weights as transformers saves them, with config.json
  transformers.safetensors     "logits" of step 1's first row, and "grad.<name>" of step 1's mean loss before clipping
  grads_step1.safetensors      the same gradients by TorchTitan, by FQN
  losses.txt                   step, loss, gradient norm (fp64) of 10 steps of TorchTitan's model, loss and schedule
"""

import math
import pathlib
import shutil

import torch
import torch._utils
from safetensors.torch import load_file, save_file

torch._utils._get_available_device_type = lambda: "cpu"  # TorchTitan assumes an accelerator

from torchtitan.components.loss import cross_entropy_loss  # noqa: E402
from torchtitan.components.lr_scheduler import build_lr_schedulers  # noqa: E402
from torchtitan.config import LRScheduler  # noqa: E402
from torchtitan.models.qwen3.model.args import Qwen3ModelArgs  # noqa: E402
from torchtitan.models.qwen3.model.model import Qwen3Model  # noqa: E402
from torchtitan.models.qwen3.model.state_dict_adapter import Qwen3StateDictAdapter  # noqa: E402
from transformers import Qwen3Config, Qwen3ForCausalLM  # noqa: E402

HERE = pathlib.Path(__file__).parent
STEPS, SEQ = 10, 48
LR, MAX_NORM = 8e-4, 0.3  # every step is clipped
ARGS = Qwen3ModelArgs(
    dim=20, n_layers=2, n_heads=6, n_kv_heads=2, head_dim=8, hidden_dim=44, vocab_size=320, max_seq_len=SEQ,
    enable_weight_tying=True,
)  # fmt: skip


def build():
    torch.manual_seed(42)
    model = Qwen3Model(ARGS)
    with torch.no_grad():
        model.init_weights()
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return model


def build_theirs(state):
    config = Qwen3Config(
        vocab_size=ARGS.vocab_size, hidden_size=ARGS.dim, intermediate_size=ARGS.hidden_dim,
        num_hidden_layers=ARGS.n_layers, num_attention_heads=ARGS.n_heads, num_key_value_heads=ARGS.n_kv_heads,
        head_dim=ARGS.head_dim, max_position_embeddings=4096, rms_norm_eps=ARGS.norm_eps, rope_theta=ARGS.rope_theta,
        tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], []), (missing, unexpected)
    model.tie_weights()
    return model.eval()


def difference(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


def first_step(logits_of, inputs, labels):
    loss = cross_entropy_loss(logits_of(inputs), labels) / labels.numel()
    loss.backward()


def train(data):
    model = build()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LR, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True
    )
    schedule = build_lr_schedulers(
        [optimizer], LRScheduler(warmup_steps=2, decay_ratio=0.8, decay_type="linear", min_lr_factor=0.0), STEPS
    )
    lines = []
    for step, rows in enumerate(data, start=1):
        optimizer.zero_grad()
        labels = rows[:, 1:]
        loss = cross_entropy_loss(model(rows[:, :-1]), labels) / labels.numel()
        loss.backward()
        norm = math.sqrt(sum(float(p.grad.double().pow(2).sum()) for p in model.parameters()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM, foreach=True)
        optimizer.step()
        schedule.step()
        lines.append(f"{step} {loss.item():.10f} {norm:.10f}")
    return "\n".join(lines) + "\n"


def main():
    data = load_file(HERE.parent / "llama3_tiny/tokens.safetensors")["tokens"].long()  # [steps, batch, seq + 1]
    inputs, labels = data[0, :, :-1], data[0, :, 1:].contiguous()

    ours = build()
    adapter = Qwen3StateDictAdapter(ARGS, None)
    weights = {name: p.detach().clone() for name, p in ours.named_parameters()}
    theirs = build_theirs(adapter.to_hf(weights))

    logits, their_logits = ours(inputs[:1])[0].detach(), theirs(inputs[:1]).logits[0].detach()
    assert difference(logits, their_logits) < 1e-6, difference(logits, their_logits)
    first_step(ours, inputs, labels)
    first_step(lambda rows: theirs(rows).logits, inputs, labels)
    gradients = {name: p.grad.clone() for name, p in ours.named_parameters()}
    their_gradients = {name: p.grad.clone() for name, p in theirs.named_parameters()}
    for name, gradient in adapter.to_hf(gradients).items():
        assert difference(gradient, their_gradients[name]) < 2e-6, (name, difference(gradient, their_gradients[name]))

    shutil.rmtree(HERE / "hf", ignore_errors=True)
    theirs.save_pretrained(HERE / "hf")
    (HERE / "hf/generation_config.json").unlink()
    save_file(
        {"logits": their_logits.clone(), **{f"grad.{name}": g for name, g in their_gradients.items()}},
        HERE / "transformers.safetensors",
    )
    save_file(gradients, HERE / "grads_step1.safetensors")
    (HERE / "losses.txt").write_text(train(data))


if __name__ == "__main__":
    main()
