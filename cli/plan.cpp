// titan plan --schedule: what a pipeline schedule does, simulated. What else a run will need is not available yet.
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

#include "cli/verbs.h"
#include "titan/parallel/pipeline/schedule/csv.h"
#include "titan/parallel/pipeline/schedule/registry.h"
#include "titan/parallel/pipeline/schedule/timeline_format.h"

namespace titan::cli {
namespace {

using pipeline::ActionCosts;
using pipeline::PipelineShape;
using pipeline::Schedule;

struct Options {
  std::string schedule, costs = "1,1,1,0", format = "text";
  std::optional<int64_t> pp, stages, microbatches;
};

ActionCosts read_costs(const std::string& text) {
  const auto refuse = [&](const std::string& what) {
    TORCH_CHECK_VALUE(false, "--costs: expected four numbers F,I,W,COMM such as 1,1,1,0.1, ", what, ", got \"", text,
                      "\"");
  };
  std::array<double, 4> costs{};
  const char* next = text.data();
  const char* const end = text.data() + text.size();
  for (size_t i = 0; i < costs.size(); ++i) {
    const auto [after, error] = std::from_chars(next, end, costs[i]);
    const bool is_last = i + 1 == costs.size();
    if (error != std::errc() || (is_last ? after != end : after == end || *after != ',')) refuse("by commas");
    next = is_last ? after : after + 1;
  }
  const auto [forward, input, weight, comm] = costs;
  constexpr double kMost = 1e9;
  const bool all_bounded = std::all_of(costs.begin(), costs.end(), [](double c) { return c >= 0 && c <= kMost; });
  if (!all_bounded || forward == 0 || input == 0) refuse("F and I above 0, none below 0 or above 1e9");
  return {forward, input, weight, comm};
}

int64_t required(const std::optional<int64_t>& value, const char* flag) {
  TORCH_CHECK_VALUE(value, flag, ": needed with a schedule's name");
  constexpr int64_t kMost = 100'000;
  TORCH_CHECK_VALUE(*value >= 1 && *value <= kMost, flag, ": expected 1 to ", kMost, ", got ", *value);
  return *value;
}

// What is given beside a file has to agree with it.
void check_agreement(const std::optional<int64_t>& given, const char* flag, int64_t in_file, const std::string& file) {
  TORCH_CHECK_VALUE(!given || *given == in_file, flag, ": ", file, " has ", in_file, ", got ", given.value_or(0));
}

Schedule make_schedule(const Options& options) {
  if (options.schedule.ends_with(".csv")) {
    Schedule schedule = pipeline::read_schedule_csv(options.schedule);
    check_agreement(options.pp, "--pp", schedule.shape.num_ranks, options.schedule);
    check_agreement(options.stages, "--stages", schedule.shape.num_stages, options.schedule);
    check_agreement(options.microbatches, "--microbatches", schedule.shape.num_microbatches, options.schedule);
    return schedule;
  }
  const pipeline::ScheduleKind& kind = pipeline::find_schedule(options.schedule);
  PipelineShape shape;
  shape.num_ranks = required(options.pp, "--pp");
  shape.num_microbatches = required(options.microbatches, "--microbatches");
  shape.num_stages = required(options.stages.value_or(shape.num_ranks * kind.default_stages_per_rank()), "--stages");
  constexpr int64_t kMostForwards = 5'000'000;  // 3 actions each, some 100 bytes an action
  TORCH_CHECK_VALUE(shape.num_stages * shape.num_microbatches <= kMostForwards,
                    fmt::format("--stages: stages x microbatches must be at most {}, got {} x {}", kMostForwards,
                                shape.num_stages, shape.num_microbatches));
  return pipeline::make_schedule(kind.name, shape);
}

std::string plan_schedule(const Options& options) {
  const ActionCosts costs = read_costs(options.costs);
  const Schedule schedule = make_schedule(options);
  if (options.format == "pytorch") return pipeline::to_csv(schedule);
  const bool from_file = options.schedule.ends_with(".csv");
  const std::string name = from_file ? options.schedule : std::string(pipeline::find_schedule(options.schedule).name);
  const pipeline::Simulation simulation{name, schedule, costs, pipeline::simulate(schedule, costs)};
  TORCH_INTERNAL_ASSERT(!simulation.timeline.deadlock, name, " does not run to its end");
  if (options.format == "svg") return pipeline::to_svg(simulation);
  if (options.format == "csv") return pipeline::to_timeline_csv(simulation);
  return pipeline::to_text(simulation);
}

}  // namespace

int run_plan(const Arguments& arguments) {
  Options options;
  CLI::App app("Simulate a pipeline schedule: who computes what when, idle share, activations.", "titan plan");
  std::string names;
  for (const std::string_view name : pipeline::schedule_names())
    names += (names.empty() ? "" : ", ") + std::string(name);
  const auto add = [&](const char* flag, auto& value, const std::string& help) {
    return app.add_option(flag, value, help)->take_last();
  };
  CLI::Option* const schedule =
      add("--schedule", options.schedule, names + "; or a file *.csv in PyTorch's notation, a line per rank");
  add("--pp", options.pp, "ranks of the pipeline");
  add("--microbatches", options.microbatches, "microbatches of a step");
  add("--stages", options.stages, "stages of the model, over all ranks (1 per rank, or 2 where there may be several)");
  add("--costs", options.costs,
      "F,I,W,COMM: time of a stage's forward, input gradient, weight gradient, and of a "
      "message (1,1,1,0)");
  add("--format", options.format,
      "text; csv: the timeline; svg: the timeline drawn; pytorch: the schedule as PyTorch's CSV (text)")
      ->check(CLI::IsMember({"text", "csv", "svg", "pytorch"}));
  app.allow_extras();  // flags of a job, which say what is not available yet
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them from the end
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    TORCH_CHECK_VALUE(false, error.what(), "; `titan plan --help` says more");
  }
  if (schedule->empty()) {
    std::fputs("titan plan: not available yet without --schedule\n", stderr);
    return 2;
  }
  const std::vector<std::string> extras = app.remaining();
  TORCH_CHECK_VALUE(extras.empty(), extras.empty() ? "" : extras.front(),
                    ": not a flag of a schedule's plan; `titan plan --help` lists them");
  std::fputs(plan_schedule(options).c_str(), stdout);
  TORCH_CHECK(std::fflush(stdout) == 0, "stdout cannot be written");
  return 0;
}

}  // namespace titan::cli
