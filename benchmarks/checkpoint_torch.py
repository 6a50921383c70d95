"""What checkpoint.cpp measures, of torch.distributed.checkpoint: torchrun checkpoint_torch.py FOLDER MIB REPEATS."""

import json
import resource
import shutil
import sys
import time

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.tensor import DTensor, Shard, init_device_mesh

COLUMNS, ROWS = 1024, 4096  # 16 MiB a tensor
PRODUCTS = 400


def seconds(work):
    dist.barrier()
    begin = time.perf_counter()
    result = work()
    dist.barrier()
    return time.perf_counter() - begin, result


def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    folder, mib, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    rows = ROWS // dist.get_world_size()
    state = {
        f"w{i}": DTensor.from_local(torch.randn(rows, COLUMNS), mesh, [Shard(0)]) for i in range(mib // 16)
    }
    group = dist.new_group(backend="gloo")
    save, load, stall, alone, beside, before = [], [], [], [], [], peak_mib()
    factor = torch.randn(COLUMNS, COLUMNS)
    product = torch.empty_like(factor)

    def compute():
        for _ in range(PRODUCTS):
            torch.mm(factor, factor, out=product)

    def clear():  # both write to a new folder: overwriting cached pages in place is another thing
        if dist.get_rank() == 0:
            shutil.rmtree(folder, ignore_errors=True)
        dist.barrier()

    for _ in range(repeats):
        clear()
        save.append(seconds(lambda: dcp.save(state, checkpoint_id=f"{folder}/step-1"))[0])
        load.append(seconds(lambda: dcp.load(state, checkpoint_id=f"{folder}/step-1"))[0])
    after = peak_mib()
    for _ in range(repeats):
        clear()
        alone.append(seconds(compute)[0])

        def step():
            took, future = seconds(lambda: dcp.async_save(state, checkpoint_id=f"{folder}/step-2", process_group=group))
            compute()
            return took, future

        both, (took, future) = seconds(step)
        stall.append(took)
        beside.append(both)
        future.result()
        dist.barrier()
    clear()
    if dist.get_rank() == 0:
        print(json.dumps({"ranks": dist.get_world_size(), "save": round(min(save), 3), "load": round(min(load), 3),
                          "stall": round(min(stall), 4), "alone": round(min(alone), 3),
                          "longer": round(min(beside) - min(alone), 3), "save_mib": round(after - before),
                          "async_mib": round(peak_mib() - before)}))  # fmt: skip
    dist.destroy_process_group()


main()
