#include "titan/activation_checkpoint/pareto_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace titan::activation_checkpoint {
namespace {

constexpr double kWidth = 640, kHeight = 400, kLeft = 70, kRight = 20, kTop = 40, kBottom = 60;

struct Point {
  double budget, bytes, milliseconds;
};

std::vector<Point> points_of(const BlockProfile& profile) {
  std::vector<Point> points;
  for (int i = 0; i <= 20; ++i) {
    const double budget = i / 20.0;
    if (i == 20) {  // everything is kept, as without checkpointing
      points.push_back({budget, static_cast<double>(profile.plain_bytes), 0});
      continue;
    }
    const auto bound = static_cast<int64_t>(budget * static_cast<double>(profile.plain_bytes));
    const KeepChoice choice = best_to_keep(profile.candidates, bound);
    points.push_back({budget, static_cast<double>(choice.bytes), choice.seconds * 1e3});
  }
  return points;
}

}  // namespace

std::string pareto_chart(const BlockProfile& profile, double budget) {
  const std::vector<Point> points = points_of(profile);
  const double most_bytes = std::max(1.0, static_cast<double>(profile.plain_bytes));
  const double most_ms = std::max(1e-6, points.front().milliseconds);
  const auto x = [&](const Point& p) { return kLeft + (kWidth - kLeft - kRight) * p.bytes / most_bytes; };
  const auto y = [&](const Point& p) {
    return kHeight - kBottom - (kHeight - kTop - kBottom) * p.milliseconds / most_ms;
  };

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
      "<text x=\"{2}\" y=\"20\" font-size=\"14\">Activation checkpointing of one block: time against memory</text>\n",
      kWidth, kHeight, kLeft);
  svg += fmt::format("<path d=\"M{0} {1}V{2}H{3}\" fill=\"none\" stroke=\"black\"/>\n", kLeft, kTop, kHeight - kBottom,
                     kWidth - kRight);
  for (int i = 0; i <= 4; ++i) {
    const Point tick{0, most_bytes * i / 4, most_ms * i / 4};
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:.2f}</text>\n", x(tick),
                       kHeight - kBottom + 18, tick.bytes / (1 << 20));
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:.2f}</text>\n", kLeft - 6, y(tick) + 4,
                       tick.milliseconds);
  }
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">results kept, MiB</text>\n", (kLeft + kWidth) / 2,
                     kHeight - 16);
  svg += fmt::format(
      "<text x=\"16\" y=\"{0}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {0})\">computed again, ms</text>\n",
      kHeight / 2);
  std::string line;
  for (const Point& point : points) line += fmt::format("{:.1f},{:.1f} ", x(point), y(point));
  svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"#1f77b4\" stroke-width=\"2\"/>\n", line);
  for (const Point& point : points) {
    const bool is_chosen = std::abs(point.budget - budget) < 0.025;
    svg +=
        fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\"><title>budget {:.2f}</title></circle>\n",
                    x(point), y(point), is_chosen ? 6 : 3, is_chosen ? "#d62728" : "#1f77b4", point.budget);
  }
  return svg + "</svg>\n";
}

}  // namespace titan::activation_checkpoint
