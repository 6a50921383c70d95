"""Makes the goldens of tests/unit/checkpoint: small files written by PyTorch and by safetensors' own library.

    python make_goldens.py            (torch 2.11.0, safetensors 0.8.0, Python 3.11.7; writes beside itself)

dcp_single/   one rank: every dtype, scalars, empty and strided tensors, Python objects beside them
dcp_sharded/  two ranks over gloo: rows, columns, both; uneven (7 rows, 1 row: the second rank has none)
*.safetensors of the same tensors, so that a reader of one format checks the other.
"""

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

HERE = Path(__file__).resolve().parent
FLOATS = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]
INTS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64]


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def single_tensors():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(3, 5, generator=generator)
    tensors = {f"float.{name_of(d)}": values.to(d) for d in FLOATS}
    tensors |= {f"int.{name_of(d)}": torch.arange(7).to(d) for d in INTS}
    tensors["bool"] = torch.tensor([True, False, True])
    tensors["complex"] = torch.complex(values, -values)
    tensors["scalar"] = torch.tensor(2.5)
    tensors["scalar_bf16"] = torch.tensor(-1.5, dtype=torch.bfloat16)
    tensors["empty"] = torch.empty(0, 4)
    tensors["transposed"] = values.t()
    tensors["slice"] = values[1:, 2:]
    tensors["parameter"] = torch.nn.Parameter(values * 2)
    return tensors


def sharded_tensors():
    generator = torch.Generator().manual_seed(2)
    return {
        "rows": torch.randn(7, 3, generator=generator),
        "one_row": torch.randn(1, 3, generator=generator),
        "columns": torch.randn(4, 5, generator=generator, dtype=torch.bfloat16),
        "replicated": torch.arange(6),
        "step": torch.tensor(3.0),
    }


def save_plain(tensors, file):
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, HERE / file)


def run_rank(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    placements = {"rows": Shard(0), "one_row": Shard(0), "columns": Shard(1), "replicated": Replicate()}
    state = {
        k: distribute_tensor(v, mesh, [placements[k]]) if k in placements else v for k, v in sharded_tensors().items()
    }
    dcp.save(state, checkpoint_id=folder)
    dist.destroy_process_group()


def main():
    objects = {"lr_scheduler": {"last_epoch": 7, "note": "text"}, "dataloader": b"bytes"}
    save_plain(single_tensors(), "single.safetensors")
    save_plain(sharded_tensors(), "sharded.safetensors")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as made:  # .metadata names the folder it was written to
        dcp.save({**single_tensors(), **objects}, checkpoint_id=Path(made) / "dcp_single")
        mp.spawn(run_rank, (port, Path(made) / "dcp_sharded"), nprocs=2)
        for folder in ["dcp_single", "dcp_sharded"]:
            shutil.rmtree(HERE / folder, ignore_errors=True)
            shutil.copytree(Path(made) / folder, HERE / folder)
    print(torch.__version__, sys.version.split()[0])


if __name__ == "__main__":
    main()
