// Schedules carried out by ranks, against the same stages one after another. Ranks are threads; a stage is a layer.
#include "titan/parallel/pipeline/runtime.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <atomic>

#include "tests/support/run_ranks.h"
#include "tests/support/tensors.h"
#include "titan/distributed/device_mesh.h"
#include "titan/nn/init.h"
#include "titan/nn/linear.h"
#include "titan/nn/weight_gradient_queue.h"
#include "titan/parallel/pipeline/schedule/lower.h"
#include "titan/parallel/pipeline/schedule/registry.h"

namespace titan::pipeline {
namespace {

using test::random;
using World = std::shared_ptr<distributed::World>;
using Tensors = std::vector<at::Tensor>;

// tanh(x W^T) of 5 features; stage i of a pipeline.
std::shared_ptr<nn::Linear> layer(int64_t stage) {
  auto linear = std::make_shared<nn::Linear>(5, 5, at::kFloat);
  linear->to_empty(at::kCPU);
  nn::Initializer(static_cast<uint64_t>(stage)).normal(linear->weight, 0.0, 0.6);
  return linear;
}

// Microbatches are of different sizes.
at::Tensor input(int64_t microbatch) {
  return random({2 + microbatch % 3, 5}, static_cast<uint64_t>(100 + microbatch));
}

// The gradient of each stage's weight when all goes one after another.
Tensors expected(const PipelineShape& shape) {
  std::vector<std::shared_ptr<nn::Linear>> layers;
  for (int64_t stage = 0; stage < shape.num_stages; ++stage) layers.push_back(layer(stage));
  for (int64_t microbatch = 0; microbatch < shape.num_microbatches; ++microbatch) {
    at::Tensor x = input(microbatch);
    for (const auto& linear : layers) x = (*linear)(x).tanh();
    x.square().sum().backward();
  }
  Tensors gradients;
  for (const auto& linear : layers) gradients.push_back(linear->weight.get().grad());
  return gradients;
}

// What the schedule asked of a stage.
struct Counts {
  int64_t unshards = 0, reshards = 0, reductions = 0;
};

struct RankStages {
  std::vector<std::shared_ptr<Stage>> stages;
  std::vector<std::shared_ptr<nn::Linear>> layers;
  std::vector<std::shared_ptr<Counts>> counts;
};

RankStages make_stages(const Schedule& schedule, int64_t rank, const std::function<void(int64_t stage)>& on_forward) {
  RankStages made;
  for (int64_t index = 0; index < schedule.shape.num_stages; ++index) {
    if (schedule.rank_of_stage[static_cast<size_t>(index)] != rank) continue;
    auto linear = layer(index);
    auto queue = std::make_shared<nn::WeightGradientQueue>();
    linear->set_weight_gradient_queue(queue);
    auto counts = std::make_shared<Counts>();
    auto stage = std::make_shared<Stage>(index,
                                         StageHooks{.unshard = [counts] { ++counts->unshards; },
                                                    .reshard = [counts] { ++counts->reshards; },
                                                    .reduce_gradients = [counts] { ++counts->reductions; }},
                                         queue);
    const bool is_last = index + 1 == schedule.shape.num_stages;
    stage->begin([=](int64_t microbatch, const at::Tensor& x) {
      on_forward(index);
      const at::Tensor y = (*linear)(index == 0 ? input(microbatch) : x).tanh();
      return is_last ? y.square().sum() : y;
    });
    made.stages.push_back(stage);
    made.layers.push_back(linear);
    made.counts.push_back(counts);
  }
  return made;
}

RunOptions options() {
  return {.boundary = [](int64_t, int64_t microbatch) {
    return Boundary{.sizes = input(microbatch).sizes().vec(), .dtype = at::kFloat};
  }};
}

void expect_gradients_of(const Schedule& schedule, const std::string& name) {
  const Tensors gradients = expected(schedule.shape);
  const Schedule lowered = lower(schedule);
  test::run_ranks(schedule.shape.num_ranks, "shm", [&](const World& world) {
    const RankStages made = make_stages(schedule, world->rank(), [](int64_t) {});
    run_schedule(lowered, made.stages, *world->group(), options());
    for (size_t i = 0; i < made.stages.size(); ++i) {
      const auto index = static_cast<size_t>(made.stages[i]->index());
      EXPECT_LT(test::relative_difference(made.layers[i]->weight.get().grad(), gradients[index]), 1e-6)
          << name << ", stage " << index;
      EXPECT_EQ(made.counts[i]->unshards, made.counts[i]->reshards) << name;
      EXPECT_EQ(made.counts[i]->reductions, 1) << name;
    }
  });
}

// Fewer microbatches than stages where a schedule allows it, as many, and more.
TEST(RunSchedule, EveryScheduleGivesTheGradientsOfOneDevice) {
  for (const std::string_view name : schedule_names()) {
    for (const int64_t num_ranks : {2, 3}) {
      const int64_t num_stages = num_ranks * find_schedule(name).default_stages_per_rank();
      int64_t num_run = 0;
      for (const int64_t num_microbatches : {num_ranks - 1, num_stages, 2 * num_stages}) {
        const PipelineShape shape{num_ranks, num_stages, num_microbatches};
        Schedule schedule;
        try {
          schedule = make_schedule(name, shape);
        } catch (const c10::ValueError&) {
          continue;  // not defined there
        }
        expect_gradients_of(schedule, std::string(name));
        ++num_run;
      }
      EXPECT_GE(num_run, 2) << name;
    }
  }
}

// Stages 1 and 2 are neighbours on rank 1, which sends itself nothing; stage 3 is on rank 0 again. B, and I with W.
TEST(RunSchedule, StagesMayLieOnRanksInAnyOrder) {
  const Schedule schedule{{2, 4, 2},
                          {0, 1, 1, 0},
                          {{F(0, 0), F(0, 1), F(3, 0), I(3, 0), F(3, 1), B(3, 1), W(3, 0), B(0, 0), B(0, 1)},
                           {F(1, 0), F(2, 0), F(1, 1), F(2, 1), B(2, 0), I(1, 0), B(2, 1), B(1, 1), W(1, 0)}}};
  expect_gradients_of(schedule, "by hand");
}

TEST(RunSchedule, ForwardsAloneLeaveNothingBehind) {
  for (const StagePlacement placement : {StagePlacement::kLoop, StagePlacement::kV}) {
    const PipelineShape shape{2, 4, 3};
    const std::vector<int64_t> ranks = place_stages(placement, shape);
    const Schedule forwards = forward_only(ranks, shape.num_ranks, shape.num_microbatches);
    std::atomic<int64_t> num_forwards = 0;
    test::run_ranks(2, "shm", [&](const World& world) {
      const RankStages made = make_stages(forwards, world->rank(), [&](int64_t) { ++num_forwards; });
      const at::NoGradGuard no_grad;
      run_schedule(forwards, made.stages, *world->group(), options());
      for (const auto& stage : made.stages) stage->begin({});  // throws if anything were under way
    });
    EXPECT_EQ(num_forwards, 12);
  }
}

TEST(RunSchedule, GradientsAreReducedOnlyWhereTheyShallBe) {
  const Schedule schedule = make_schedule("1F1B", {2, 2, 2});
  test::run_ranks(2, "shm", [&](const World& world) {
    const RankStages made = make_stages(schedule, world->rank(), [](int64_t) {});
    RunOptions without = options();
    without.reduce_gradients = false;
    run_schedule(lower(schedule), made.stages, *world->group(), without);
    EXPECT_EQ(made.counts.front()->reductions, 0);
  });
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.msg();
  }
  return "";
}

TEST(RunSchedule, AnOutputThatTheNextStageDoesNotAwaitIsNamed) {
  const Schedule of_two{{1, 2, 1}, {0, 0}, {{F(0, 0), F(1, 0), B(1, 0), B(0, 0)}}};
  test::run_ranks(1, "shm", [&](const World& world) {
    const RankStages made = make_stages(of_two, world->rank(), [](int64_t) {});
    RunOptions wrong = options();
    wrong.boundary = [](int64_t, int64_t) { return Boundary{.sizes = {2, 6}, .dtype = at::kBFloat16}; };
    EXPECT_EQ(error_of([&] { run_schedule(lower(of_two), made.stages, *world->group(), wrong); }),
              "pipeline: stage 0 hands on Float[2, 5] where the next one awaits BFloat16[2, 6]");
  });
}

// The rank that threw says so; the others learn of it and end, long before the timeout.
TEST(RunSchedule, AStageThatThrowsEndsAllRanks) {
  const Schedule schedule = make_schedule("1F1B", {3, 3, 4});
  std::atomic<int64_t> num_errors = 0;
  const auto start = std::chrono::steady_clock::now();
  test::run_ranks(3, "shm",
                  [&](const World& world) {
                    const RankStages made = make_stages(schedule, world->rank(), [](int64_t stage) {
                      TORCH_CHECK(stage != 1, "stage 1 is out of order");
                    });
                    const std::string error =
                        error_of([&] { run_schedule(lower(schedule), made.stages, *world->group(), options()); });
                    if (world->rank() == 1) {
                      EXPECT_EQ(error, "stage 1 is out of order");
                    }
                    if (!error.empty()) ++num_errors;
                    world->group()->abandon();
                  },
                  {.timeout = std::chrono::milliseconds(700)});
  EXPECT_EQ(num_errors, 3);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace titan::pipeline
