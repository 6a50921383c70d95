// Finds out whether a schedule can run: without ranks, before any of them starts.
#pragma once

#include <optional>
#include <string>

#include "titan/parallel/pipeline/schedule/fault.h"
#include "titan/parallel/pipeline/schedule/schedule.h"

namespace titan::pipeline {

// Of a schedule of compute actions: each stage on its own rank; for each stage and microbatch one F, and one B or one I
// and one W, in an order that holds what each needs; no ranks that wait for each other. Nothing if all is well.
std::optional<Fault> find_fault(const Schedule& schedule);

// Of a schedule that lower() made: all of the compute actions' messages are there, each RECV before what needs it, each
// SEND after what makes it, and ranks do not wait for each other even where a SEND waits for its RECV; stages are
// unsharded when they compute; gradients are reduced once, after the last backward.
std::optional<Fault> find_lowering_fault(const Schedule& lowered);

}  // namespace titan::pipeline
