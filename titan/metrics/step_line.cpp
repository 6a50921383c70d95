#include "titan/metrics/step_line.h"

#include <fmt/format.h>

#include <cmath>

namespace titan::metrics {
namespace {

// TorchTitan's palette; the last three are 24-bit colours.
struct Palette {
  const char* red = "";
  const char* green = "";
  const char* yellow = "";
  const char* blue = "";
  const char* magenta = "";
  const char* cyan = "";
  const char* reset = "";
  const char* orange = "";
  const char* turquoise = "";
};

Palette palette(bool color) {
  if (!color) return {};
  return {"\033[31m",
          "\033[32m",
          "\033[33m",
          "\033[34m",
          "\033[35m",
          "\033[36m",
          "\033[39m",
          "\033[38;2;180;60;0m",
          "\033[38;2;54;234;195m"};
}

}  // namespace

std::string group_thousands(double value, int decimals) {
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (!std::isfinite(value)) return text;
  size_t end = text.find('.');
  if (end == std::string::npos) end = text.size();
  const size_t begin = text[0] == '-' ? 1 : 0;
  for (size_t at = end; at > begin + 3;) text.insert(at -= 3, 1, ',');
  return text;
}

// ">": fmt would put NaN and infinities to the left of their column.
std::string format_step(const StepMetrics& m, bool color) {
  const Palette c = palette(color);
  return fmt::format(
      "{}step: {:2}  {}loss: {:>8.5f}  {}grad_norm: {:>7.4f}  {}memory: {:>5.2f}GiB({:.2f}%)  {}tps: {}  {}tflops: {}  "
      "{}mfu: {:.2f}%{}",
      c.red, m.step, c.green, m.loss, c.orange, m.grad_norm, c.turquoise, m.memory_gib, m.memory_percent, c.blue,
      group_thousands(m.tps, 0), c.cyan, group_thousands(m.tflops, 2), c.magenta, m.mfu_percent, c.reset);
}

std::string format_validation(const ValidationMetrics& m, bool color) {
  const Palette c = palette(color);
  return fmt::format("{}validate step: {:2}  {}loss: {:>7.4f}  {}memory: {:>5.2f}GiB({:.2f}%)  {}tps: {}{}", c.yellow,
                     m.step, c.green, m.loss, c.turquoise, m.memory_gib, m.memory_percent, c.blue,
                     group_thousands(m.tps, 0), c.reset);
}

}  // namespace titan::metrics
