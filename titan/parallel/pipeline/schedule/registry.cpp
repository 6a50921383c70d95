#include "titan/parallel/pipeline/schedule/registry.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include "titan/config/nearest.h"
#include "titan/parallel/pipeline/schedule/generators.h"
#include "titan/parallel/pipeline/schedule/interleaved_order.h"

namespace titan::pipeline {
namespace {

using enum StagePlacement;

constexpr std::array kSchedules{
    ScheduleKind{"GPipe", kLoop, gpipe, 1},
    ScheduleKind{"1F1B", kLoop, one_f_one_b, 1, true},
    ScheduleKind{"Interleaved1F1B", kLoop, interleaved_1f1b, 0, false, true},
    ScheduleKind{"LoopedBFS", kLoop, looped_bfs, 0},
    ScheduleKind{"InterleavedZeroBubble", kLoop, interleaved_zero_bubble, 0, false, true},
    ScheduleKind{"ZBVZeroBubble", kV, zbv_zero_bubble, 2},
    ScheduleKind{"DualPipeV", kV, dual_pipe_v, 2, true},
};

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

void check_rounds(const ScheduleKind& kind, const PipelineShape& shape) {
  const int64_t num_rounds = InterleavedOrder::num_rounds(shape);
  const int64_t fewer = shape.num_microbatches / num_rounds * num_rounds;
  TORCH_CHECK_VALUE(fewer == shape.num_microbatches,
                    fmt::format("schedule {}: the number of microbatches must be a multiple of its number of rounds, "
                                "{} (microbatches / ranks, rounded down), got {}; use {} microbatches",
                                kind.name, num_rounds, shape.num_microbatches, fewer));
}

void check_shape(const ScheduleKind& kind, const PipelineShape& shape) {
  const auto [num_ranks, num_stages, num_microbatches] = shape;
  TORCH_CHECK_VALUE(num_ranks >= 1 && num_stages >= 1 && num_microbatches >= 1,
                    fmt::format("schedule {}: ranks, stages and microbatches must be at least 1, got {}, {} and {}",
                                kind.name, num_ranks, num_stages, num_microbatches));
  TORCH_CHECK_VALUE(num_stages % num_ranks == 0,
                    fmt::format("schedule {}: the number of stages must be a multiple of the number of ranks ({}), got "
                                "{}; use {} stages",
                                kind.name, num_ranks, num_stages, kind.default_stages_per_rank() * num_ranks));
  if (kind.stages_per_rank != 0) {
    const int64_t expected = kind.stages_per_rank * num_ranks;
    TORCH_CHECK_VALUE(
        num_stages == expected,
        fmt::format("schedule {}: each rank has {} stage{}, so {} ranks need {} stages, got {}", kind.name,
                    kind.stages_per_rank, kind.stages_per_rank == 1 ? "" : "s", num_ranks, expected, num_stages));
  }
  TORCH_CHECK_VALUE(!kind.needs_a_microbatch_per_stage || num_microbatches >= num_stages,
                    fmt::format("schedule {}: needs at least as many microbatches as stages ({}), got {}; use more "
                                "microbatches, fewer ranks or another schedule",
                                kind.name, num_stages, num_microbatches));
  if (kind.in_rounds) check_rounds(kind, shape);
}

}  // namespace

std::vector<std::string_view> schedule_names() {
  std::vector<std::string_view> names;
  for (const ScheduleKind& kind : kSchedules) names.push_back(kind.name);
  return names;
}

const ScheduleKind& find_schedule(std::string_view name) {
  const std::string wanted = lower_case(name);
  const ScheduleKind* nearest = nullptr;
  size_t nearest_distance = 0;
  for (const ScheduleKind& kind : kSchedules) {
    const size_t distance = config::edit_distance(wanted, lower_case(kind.name));
    if (distance == 0) return kind;
    if (nearest != nullptr && distance >= nearest_distance) continue;
    nearest = &kind;
    nearest_distance = distance;
  }
  TORCH_CHECK_VALUE(false, fmt::format("schedule: there is none named \"{}\"; did you mean {}? Known are {}", name,
                                       nearest->name, fmt::join(schedule_names(), ", ")));
}

Schedule make_schedule(std::string_view name, const PipelineShape& shape) {
  const ScheduleKind& kind = find_schedule(name);
  check_shape(kind, shape);
  Schedule schedule{shape, place_stages(kind.placement, shape), {}};
  for (int64_t rank = 0; rank < shape.num_ranks; ++rank) schedule.ranks.push_back(kind.actions_of_rank(shape, rank));
  return schedule;
}

}  // namespace titan::pipeline
