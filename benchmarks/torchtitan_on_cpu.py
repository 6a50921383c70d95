"""Starts TorchTitan 0.2.2 on a machine without a GPU, for benchmarks/compare_torchtitan.

As published it needs an accelerator in five places that have nothing to do with training; each is put right here, at
run time. It also adds the model sizes of the comparison, and prints memory as the peak resident set of the process.
"""

import os
import resource

import torch
import torch._utils
import torch.distributed
from torch.distributed.fsdp import FSDPModule

# 1. The device type: without an accelerator TorchTitan takes "cuda" for granted.
torch._utils._get_available_device_type = lambda: "cpu"


# 2. and 3. Name, size and use of the device's memory, which torch.cpu does not tell.
class HostProperties:
    total_memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def host_memory_stats(device=None):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "active_bytes.all.peak": peak,
        "reserved_bytes.all.peak": peak,
        "num_alloc_retries": 0,
        "num_ooms": 0,
    }


torch.cpu.get_device_name = lambda device=None: "cpu"
torch.cpu.get_device_properties = lambda device=None: HostProperties
torch.cpu.memory_stats = host_memory_stats
torch.cpu.reset_peak_memory_stats = lambda: None
torch.cpu.empty_cache = lambda: None

# 4. Barriers name a device index, which Gloo refuses.
gloo_barrier = torch.distributed.barrier


def barrier(*args, device_ids=None, **kwargs):
    return gloo_barrier(*args, **kwargs)


torch.distributed.barrier = barrier

# 5. FSDP scales gradients within the reduction, which Gloo cannot; it can scale them outside.
set_divide_factor = FSDPModule.set_gradient_divide_factor


def set_divide_factor_outside(module, factor):
    set_divide_factor(module, factor)
    module.set_force_sum_reduction_for_comms(True)


FSDPModule.set_gradient_divide_factor = set_divide_factor_outside

import torchtitan.models.llama3 as llama3  # noqa: E402  (reads the device type)
from torchtitan.models.llama3.model.args import TransformerModelArgs  # noqa: E402
from torchtitan.train import Trainer, main  # noqa: E402

llama3.llama3_args["tiny4"] = TransformerModelArgs(
    dim=64, n_layers=4, n_heads=4, vocab_size=2048, rope_theta=500000, multiple_of=64
)
llama3.llama3_args["29M"] = TransformerModelArgs(
    dim=512, n_layers=8, n_heads=8, vocab_size=2048, rope_theta=500000
)

if __name__ == "__main__":
    main(Trainer)
