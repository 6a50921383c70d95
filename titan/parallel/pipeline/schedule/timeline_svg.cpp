#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <vector>

#include "titan/parallel/pipeline/schedule/timeline_format.h"

namespace titan::pipeline {
namespace {

// In pixels.
constexpr double kLeft = 56, kTop = 36, kRow = 30, kBar = 26, kWidth = 1040, kLegend = 34;
constexpr double kNarrowestLabel = 7;  // a digit of the font

struct Look {
  ActionKind kind;
  std::string_view letter;
  std::string_view meaning;
  std::string_view pale, full;
};

constexpr std::array kLooks{
    Look{ActionKind::kForward, "F", "forward", "#cfe0fb", "#8fb5f2"},
    Look{ActionKind::kFullBackward, "B", "backward", "#cdebcf", "#8ccf92"},
    Look{ActionKind::kBackwardInput, "I", "input gradient", "#c9ecec", "#7fcfd0"},
    Look{ActionKind::kBackwardWeight, "W", "weight gradient", "#fbe3c0", "#f2bd72"},
};

const Look& look_of(ActionKind kind) {
  return *std::find_if(kLooks.begin(), kLooks.end(), [&](const Look& look) { return look.kind == kind; });
}

std::string escaped(std::string_view text) {
  std::string xml;
  for (const char c : text) {
    if (c == '&') {
      xml += "&amp;";
    } else if (c == '<') {
      xml += "&lt;";
    } else {
      xml += c;
    }
  }
  return xml;
}

// Two decimals at most: the same file on every machine.
std::string number(double value) {
  std::string text = fmt::format("{:.2f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

class Drawing {
 public:
  explicit Drawing(const Simulation& simulation)
      : simulation_(simulation), scale_(kWidth / std::max(simulation.timeline.total, 1e-9)) {}

  std::string draw() {
    const double height = kTop + kRow * static_cast<double>(simulation_.timeline.ranks.size()) + kLegend;
    svg_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" "
        "font-size=\"11\">\n"
        "<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n<text x=\"8\" y=\"20\" font-size=\"13\">{2}</text>\n",
        number(kLeft + kWidth + 8), number(height), escaped(headline(simulation_)));
    for (size_t rank = 0; rank < simulation_.timeline.ranks.size(); ++rank) draw_rank(rank);
    draw_legend(height - kLegend / 2);
    return svg_ + "</svg>\n";
  }

 private:
  void draw_rank(size_t rank) {
    const double y = kTop + kRow * static_cast<double>(rank);
    svg_ += fmt::format("<text x=\"8\" y=\"{}\">rank {}</text>\n", number(y + kBar / 2 + 4), rank);
    svg_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#f3f3f3\"/>\n", number(kLeft),
                        number(y), number(kWidth), number(kBar));
    for (const TimelineSlot& slot : simulation_.timeline.ranks[rank].slots) {
      const auto parts = parts_of(slot.action);
      const double part_height = kBar / static_cast<double>(parts.size());
      for (size_t i = 0; i < parts.size(); ++i) {
        draw_part(parts[i], slot, y + part_height * static_cast<double>(i), part_height);
      }
    }
  }

  void draw_part(const Action& part, const TimelineSlot& slot, double y, double height) {
    const double x = kLeft + slot.start * scale_;
    const double width = (slot.end - slot.start) * scale_;
    const std::string label = std::to_string(part.microbatch);
    drawn_.insert(part.kind);
    svg_ += fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" stroke=\"#fff\"><title>{}</title></rect>\n",
        number(x), number(y), number(width), number(height),
        is_first_of_its_rank(part.stage) ? look_of(part.kind).pale : look_of(part.kind).full, to_string(part));
    if (width < kNarrowestLabel * static_cast<double>(label.size())) return;
    svg_ += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", number(x + width / 2),
                        number(y + height / 2 + 4), label);
  }

  bool is_first_of_its_rank(int64_t stage) const {
    const std::vector<int64_t>& rank_of = simulation_.schedule.rank_of_stage;
    const auto self = rank_of.begin() + stage;
    return std::find(rank_of.begin(), self, *self) == self;
  }

  // The kinds that occur.
  void draw_legend(double y) {
    constexpr double kSwatch = 14, kSwatchGap = 130;
    double x = kLeft;
    for (const Look& look : kLooks) {
      if (!drawn_.contains(look.kind)) continue;
      svg_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"/>\n", number(x),
                          number(y - kSwatch / 2), number(kSwatch), number(kSwatch), look.full);
      svg_ += fmt::format("<text x=\"{}\" y=\"{}\">{} {}</text>\n", number(x + kSwatch + 6), number(y + 4), look.letter,
                          look.meaning);
      x += kSwatchGap;
    }
    const bool several_stages = simulation_.schedule.shape.num_stages > simulation_.schedule.shape.num_ranks;
    svg_ += fmt::format("<text x=\"{}\" y=\"{}\">numbers are microbatches{}</text>\n", number(x), number(y + 4),
                        several_stages ? "; pale: the rank's first stage" : "");
  }

  const Simulation& simulation_;
  double scale_;  // pixels per unit of time
  std::string svg_;
  std::set<ActionKind> drawn_;
};

}  // namespace

std::string to_svg(const Simulation& simulation) { return Drawing(simulation).draw(); }

}  // namespace titan::pipeline
