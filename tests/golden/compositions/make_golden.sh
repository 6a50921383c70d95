#!/usr/bin/env bash
# Makes losses.txt beside this file: the losses of ten steps of one device, fp32, by the program itself (git revision,
# libtorch 2.11.0, CPU). What it is compared with, and where it is used: tests/fault/verify_compositions_test.cpp.
#   tests/golden/compositions/make_golden.sh [TITAN]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
titan=${1:-$here/../../../build/titan}
golden=$here/..
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$titan" train --job.dump_folder="$out" --model.hf_assets_path="$golden/llama3_tiny/tokenizer" \
  --training.dataset=c4_test --training.dataset_path="$golden/llama3_documents/corpus" \
  --training.seq_len=48 --training.local_batch_size=16 --training.global_batch_size=16 --training.steps=10 \
  --training.max_norm=0.3 --training.mixed_precision_param=float32 \
  --lr_scheduler.warmup_steps=2 --lr_scheduler.decay_ratio=0.8 --activation_checkpoint.mode=none --metrics.log_freq=1 \
  --model.flavor=debugmodel --model.args.dim=24 --model.args.n_layers=4 --model.args.n_heads=6 \
  --model.args.n_kv_heads=2 --model.args.vocab_size=320 --model.args.multiple_of=8 \
  --model.args.attn_mask_type=block_causal > /dev/null
sed -n 's/.*"loss_metrics\/global_avg_loss": *\([0-9.e-]*\).*/\1/p' "$out/metrics/metrics.jsonl" > "$here/losses.txt"
wc -l "$here/losses.txt"
