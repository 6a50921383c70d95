"""Writes <schedule>_<ranks>x<stages per rank>x<microbatches>.csv (compute actions; an empty cell is idle time) and
<the same>.lowered.csv (with communication) out of PyTorch's own schedules:

    python tests/golden/pipeline_schedules/make_goldens.py

Made with torch 2.11.0. Nothing runs on ranks: schedules are built over stages that hold no module. GPipe and 1F1B build
no list before they run, so a stage records what they call (the lists that they offer for drawing are not what they
run: that of 1F1B starts the last rank at microbatch 1).
"""

import csv
import pathlib

from torch.distributed.pipelining import schedules

FOLDER = pathlib.Path(__file__).parent

# schedule: (ranks, stages per rank, microbatches). Lowered at most 8 stages: beyond that, the order in which PyTorch
# frees two stages at once follows the hashes of a Python set.
CASES = {
    "GPipe": [(1, 1, 3), (2, 1, 1), (3, 1, 5), (4, 1, 8)],
    "1F1B": [(1, 1, 3), (2, 1, 2), (3, 1, 5), (4, 1, 8)],
    "Interleaved1F1B": [(2, 2, 1), (2, 2, 4), (2, 3, 4), (3, 2, 6), (4, 2, 3), (4, 2, 8), (4, 2, 10)],
    "LoopedBFS": [(2, 2, 1), (2, 3, 3), (4, 2, 8)],
    "InterleavedZeroBubble": [(2, 1, 4), (4, 1, 8), (2, 2, 1), (2, 3, 4), (4, 2, 3), (4, 2, 8), (4, 2, 10)],
    "ZBVZeroBubble": [(1, 2, 3), (2, 2, 1), (2, 2, 4), (3, 2, 4), (4, 2, 3), (4, 2, 8), (4, 2, 11)],
    "DualPipeV": [(1, 2, 2), (2, 2, 4), (3, 2, 7), (4, 2, 8), (4, 2, 11)],
}


class Stage:
    """A stage without a module, as far as a schedule asks it anything."""

    submod = None
    has_backward = True

    def __init__(self, index, rank, num_ranks, num_stages):
        self.stage_index, self.group_rank, self.group_size, self.num_stages = index, rank, num_ranks, num_stages
        self.is_first, self.is_last = index == 0, index == num_stages - 1
        self.calls = []

    def forward_one_chunk(self, microbatch, *args, **kwargs):
        self.calls.append(schedules._Action(self.stage_index, schedules.FORWARD, microbatch))

    def backward_one_chunk(self, microbatch, *args, **kwargs):
        self.calls.append(schedules._Action(self.stage_index, schedules.FULL_BACKWARD, microbatch))

    def no_messages(self, microbatch):
        return []

    get_fwd_recv_ops = get_fwd_send_ops = get_bwd_recv_ops = get_bwd_send_ops = no_messages

    def perform_reduce_grad(self, factor):
        pass


def record(schedule_class, num_ranks, num_microbatches):
    order = {}
    for rank in range(num_ranks):
        stage = Stage(rank, rank, num_ranks, num_ranks)
        schedule = schedule_class(stage, num_microbatches)
        schedule._initialize_stage = lambda *args: None
        schedule._step_microbatches([()] * num_microbatches, [{}] * num_microbatches)
        order[rank] = stage.calls
    return order


def make(name, num_ranks, stages_per_rank, num_microbatches):
    schedule_class = schedules.get_schedule_class(name)
    num_stages = num_ranks * stages_per_rank
    stages = [Stage(i * num_ranks, 0, num_ranks, num_stages) for i in range(stages_per_rank)]
    if issubclass(schedule_class, schedules.PipelineScheduleSingle):
        order = record(schedule_class, num_ranks, num_microbatches)
        schedule = schedules._PipelineScheduleRuntime(stages, num_microbatches)
        schedule._prepare_schedule_with_comms({rank: list(actions) for rank, actions in order.items()})
        return order, schedule.pipeline_order_with_comms
    schedule = schedule_class(stages, num_microbatches)
    return schedule.pipeline_order, schedule.pipeline_order_with_comms


def write(path, order):
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(order[rank] for rank in sorted(order))


def main():
    for name, cases in CASES.items():
        for case in cases:
            order, lowered = make(name, *case)
            stem = f"{name}_{'x'.join(map(str, case))}"
            write(FOLDER / f"{stem}.csv", order)
            write(FOLDER / f"{stem}.lowered.csv", lowered)


main()
