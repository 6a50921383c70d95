#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "titan/parallel/pipeline/schedule/timeline_format.h"

namespace titan::pipeline {
namespace {

constexpr int64_t kMostColumns = 1000;

std::string label_of(const Action& action) {
  std::vector<std::string> labels;
  for (const Action& part : parts_of(action)) labels.push_back(to_string(part));
  return fmt::format("{}", fmt::join(labels, ";"));
}

// Time in columns; rounding keeps the order, and an action as long as a column or longer keeps at least one.
class Columns {
 public:
  explicit Columns(const Simulation& simulation) : total_(simulation.timeline.total) {
    const ActionCosts& costs = simulation.costs;
    length_ = std::min(costs.forward, costs.input);
    if (costs.weight > 0) length_ = std::min(length_, costs.weight);
  }

  double length() const { return length_; }
  int64_t at(double time) const { return std::llround(time / length_); }
  bool fit() const { return total_ / length_ <= static_cast<double>(kMostColumns); }

 private:
  double total_;
  double length_;
};

std::string draw_cells(const Simulation& simulation, const Columns& columns) {
  // As wide as the label that has least room needs, with a blank behind it.
  int64_t width = 1;
  for (const RankTimeline& rank : simulation.timeline.ranks) {
    for (const TimelineSlot& slot : rank.slots) {
      const int64_t num_columns = columns.at(slot.end) - columns.at(slot.start);
      if (num_columns == 0) continue;  // a W of no cost
      const auto needed = static_cast<int64_t>(label_of(slot.action).size()) + 1;
      width = std::max(width, (needed + num_columns - 1) / num_columns);
    }
  }

  std::string text = fmt::format("\none cell is {:g}; = goes on, . idle\n", columns.length());
  const std::string idle_cell = "." + std::string(width - 1, ' ');
  for (size_t rank = 0; rank < simulation.timeline.ranks.size(); ++rank) {
    text += fmt::format("rank {:>{}} | ", rank, std::to_string(simulation.timeline.ranks.size() - 1).size());
    int64_t column = 0;
    const auto idle_until = [&](int64_t end) {
      for (; column < end; ++column) text += idle_cell;
    };
    for (const TimelineSlot& slot : simulation.timeline.ranks[rank].slots) {
      idle_until(columns.at(slot.start));
      const int64_t num_columns = columns.at(slot.end) - column;
      if (num_columns == 0) continue;
      text += fmt::format("{:=<{}} ", label_of(slot.action), num_columns * width - 1);
      column += num_columns;
    }
    idle_until(columns.at(simulation.timeline.total));
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

}  // namespace

std::string headline(const Simulation& simulation) {
  const auto& [num_ranks, num_stages, num_microbatches] = simulation.schedule.shape;
  const auto plural = [](int64_t count, const char* noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
  };
  const ActionCosts& costs = simulation.costs;
  return fmt::format("{}: {}, {}, {}; F {:g}, I {:g}, W {:g}, COMM {:g}; idle {:.1f}%", simulation.name,
                     plural(num_ranks, "rank"), plural(num_stages, "stage"),
                     fmt::format("{} microbatch{}", num_microbatches, num_microbatches == 1 ? "" : "es"), costs.forward,
                     costs.input, costs.weight, costs.comm, 100 * simulation.timeline.idle_share());
}

std::string to_text(const Simulation& simulation) {
  const Timeline& timeline = simulation.timeline;
  std::string text = headline(simulation) + fmt::format("\ntotal {:g}\n\n", timeline.total);
  text += fmt::format("{:>4}  {:>10}  {:>10}  {:>7}  {:>16}  {}\n", "rank", "busy", "bubble", "idle %",
                      "peak activations", "stages");
  for (size_t rank = 0; rank < timeline.ranks.size(); ++rank) {
    const RankTimeline& figures = timeline.ranks[rank];
    std::vector<size_t> stages;
    for (size_t stage = 0; stage < simulation.schedule.rank_of_stage.size(); ++stage) {
      if (simulation.schedule.rank_of_stage[stage] == static_cast<int64_t>(rank)) stages.push_back(stage);
    }
    text += fmt::format("{:>4}  {:>10g}  {:>10g}  {:>7.1f}  {:>16}  {}\n", rank, figures.busy, figures.bubble(),
                        100 * (1 - figures.busy / timeline.total), figures.peak_activations, fmt::join(stages, " "));
  }
  const Columns columns(simulation);
  if (!columns.fit()) return text + "\nthe timeline is too long for text; --format svg draws it\n";
  return text + draw_cells(simulation, columns);
}

std::string to_timeline_csv(const Simulation& simulation) {
  std::string csv = "rank,action,start,end\n";
  for (size_t rank = 0; rank < simulation.timeline.ranks.size(); ++rank) {
    for (const TimelineSlot& slot : simulation.timeline.ranks[rank].slots) {
      csv += fmt::format("{},{},{:.12g},{:.12g}\n", rank, to_string(slot.action), slot.start, slot.end);
    }
  }
  return csv;
}

}  // namespace titan::pipeline
