#include "titan/parallel/pipeline/schedule/csv.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "titan/parallel/pipeline/schedule/validate.h"

namespace titan::pipeline {
namespace {

// A line whose cells have been read; an action remembers its cell.
struct Line {
  std::vector<Action> actions;
  std::vector<size_t> cells;  // [actions]: from 1
};

std::string place(const std::string& path, size_t rank, size_t cell, const Action& action) {
  return fmt::format("{}: line {}, cell {} ({})", path, rank + 1, cell, to_string(action));
}

Line read_line(const std::string& text, const std::string& path, size_t number) {
  Line line;
  std::istringstream cells(text);
  std::string cell;
  for (size_t i = 1; std::getline(cells, cell, ','); ++i) {
    if (cell.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      line.actions.push_back(parse_action(cell));
    } catch (const c10::ValueError& error) {
      TORCH_CHECK_VALUE(false, fmt::format("{}: line {}, cell {}: {}", path, number, i, error.msg()));
    }
    line.cells.push_back(i);
  }
  TORCH_CHECK_VALUE(!line.actions.empty(),
                    fmt::format("{}: line {}: expected the actions of rank {}, got none", path, number, number - 1));
  return line;
}

std::vector<Line> read_lines(const std::string& path) {
  TORCH_CHECK_VALUE(!std::filesystem::is_directory(path), path, ": expected a file, got a folder");
  std::ifstream file(path);
  TORCH_CHECK_VALUE(file.is_open(), path, ": cannot be read");
  std::vector<Line> lines;
  std::string text;
  while (std::getline(file, text)) lines.push_back(read_line(text, path, lines.size() + 1));
  TORCH_CHECK_VALUE(!lines.empty(), path, ": expected a line of actions per rank, got an empty file");
  return lines;
}

// Stages and microbatches are those that occur; a stage is where it occurs first.
Schedule infer_schedule(const std::vector<Line>& lines, const std::string& path) {
  // More would be a slip of the pen, and memory for nothing.
  constexpr int64_t kMost = 100'000;
  Schedule schedule;
  schedule.shape = {static_cast<int64_t>(lines.size()), 0, 0};
  for (size_t rank = 0; rank < lines.size(); ++rank) {
    for (size_t i = 0; i < lines[rank].actions.size(); ++i) {
      for (const Action& part : parts_of(lines[rank].actions[i])) {
        TORCH_CHECK_VALUE(part.stage < kMost && part.microbatch < kMost,
                          place(path, rank, lines[rank].cells[i], lines[rank].actions[i]),
                          ": stages and microbatches are below ", kMost);
        schedule.shape.num_stages = std::max(schedule.shape.num_stages, part.stage + 1);
        schedule.shape.num_microbatches = std::max(schedule.shape.num_microbatches, part.microbatch + 1);
        schedule.rank_of_stage.resize(schedule.shape.num_stages, Action::kNone);
        int64_t& owner = schedule.rank_of_stage[part.stage];
        if (owner == Action::kNone) owner = static_cast<int64_t>(rank);
      }
    }
    schedule.ranks.push_back(lines[rank].actions);
  }
  constexpr int64_t kMostForwards = 5'000'000;
  TORCH_CHECK_VALUE(schedule.shape.num_stages * schedule.shape.num_microbatches <= kMostForwards,
                    fmt::format("{}: at most {} stages x microbatches, got {} x {}", path, kMostForwards,
                                schedule.shape.num_stages, schedule.shape.num_microbatches));
  for (int64_t stage = 0; stage < schedule.shape.num_stages; ++stage) {
    TORCH_CHECK_VALUE(schedule.rank_of_stage[stage] != Action::kNone,
                      fmt::format("{}: no line has an action of stage {}, but there are {} stages", path, stage,
                                  schedule.shape.num_stages));
  }
  return schedule;
}

}  // namespace

std::vector<std::vector<Action>> read_actions_csv(const std::string& path) {
  std::vector<std::vector<Action>> ranks;
  for (Line& line : read_lines(path)) ranks.push_back(std::move(line.actions));
  return ranks;
}

Schedule read_schedule_csv(const std::string& path) {
  const std::vector<Line> lines = read_lines(path);
  Schedule schedule = infer_schedule(lines, path);
  const std::optional<Fault> fault = find_fault(schedule);
  if (!fault) return schedule;
  TORCH_CHECK_VALUE(fault->position != Fault::kWholeRank, path, ": line ", fault->rank + 1, ": ", fault->message);
  const Line& line = lines[fault->rank];
  TORCH_CHECK_VALUE(false, place(path, fault->rank, line.cells[fault->position], line.actions[fault->position]), ": ",
                    fault->message);
}

std::string to_csv(const Schedule& schedule) {
  std::string csv;
  for (const std::vector<Action>& actions : schedule.ranks) {
    for (size_t i = 0; i < actions.size(); ++i) csv += (i == 0 ? "" : ",") + to_string(actions[i]);
    csv += '\n';
  }
  return csv;
}

}  // namespace titan::pipeline
