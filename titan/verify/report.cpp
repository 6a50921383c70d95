#include "titan/verify/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace titan::verify {
namespace {

constexpr double kBf16Slack = 1.5;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double relative(double value, double reference) {
  const double distance = std::abs(value - reference);
  if (std::isnan(distance)) return kInfinity;
  return distance == 0 ? 0 : distance / std::abs(reference);
}

double worst_of(const std::vector<double>& values, const std::vector<double>& reference) {
  double largest = values.size() == reference.size() ? 0 : kInfinity;
  for (size_t i = 0; i < std::min(values.size(), reference.size()); ++i) {
    largest = std::max(largest, relative(values[i], reference[i]));
  }
  return largest;
}

std::vector<double> figures_of(const Comparison& comparison, double StepComparison::*member) {
  std::vector<double> figures;
  for (const StepComparison& step : comparison.steps) figures.push_back(step.*member);
  return figures;
}

// How far each kind of figure may be off.
struct Tolerances {
  double scalar, free_loss, tensor, all_gradients, all_parameters;
};

Tolerances tolerances_of(const Layout& layout, const Comparison& reference, const Comparison* baseline) {
  if (baseline != nullptr) {
    // In one step a figure may be close by luck: the largest of all steps counts.
    const auto largest = [&](double StepComparison::*member) {
      const auto figures = figures_of(*baseline, member);
      return kBf16Slack * *std::max_element(figures.begin(), figures.end());
    };
    const auto scalar = [&](double StepComparison::*member) {
      return kBf16Slack * worst_of(figures_of(*baseline, member), figures_of(reference, member));
    };
    return {.scalar = std::max(scalar(&StepComparison::loss), scalar(&StepComparison::grad_norm)),
            .free_loss = kBf16Slack * worst_of(baseline->free_losses, reference.free_losses),
            .tensor = kInfinity,
            .all_gradients = largest(&StepComparison::all_gradients),
            .all_parameters = largest(&StepComparison::all_parameters)};
  }
  const bool same_order = layout.world_size() == 1 && layout.accum == 1;
  const double tolerance = same_order ? 0 : layout.splits_operators() ? 1e-5 : 1e-6;
  return {.scalar = tolerance,
          .free_loss = same_order                  ? 0
                       : layout.splits_operators() ? 1e-5
                                                   : 2e-6,
          .tensor = tolerance,
          .all_gradients = tolerance,
          .all_parameters = tolerance};
}

// Keeps the largest difference of a kind, and what parts first in the order of the calls.
class Judge {
 public:
  void look(const std::string& what, const std::string& where, double value, double tolerance) {
    auto& [largest, name] = largest_[what];
    if (!(value <= largest) || name.empty()) {
      largest = value;
      name = where;
    }
    if (!(value <= tolerance) && first_parting_.empty()) {
      first_parting_ =
          fmt::format("{}{}{} is {:.1e} off, {:.1e} allowed", what, where.empty() ? "" : " ", where, value, tolerance);
    }
  }
  void look(const std::string& what, const std::string& suffix, const Differences& differences, double tolerance,
            const Differences& slack = {}) {
    for (const auto& [name, value] : differences) {
      const auto found = slack.find(name);
      look(what, name + suffix, value, tolerance + (found == slack.end() ? 0 : found->second));
    }
  }
  std::string summary(const std::string& what) const {
    const auto found = largest_.find(what);
    if (found == largest_.end()) return fmt::format("{} -", what);
    const auto& [largest, name] = found->second;
    return fmt::format("{} {:.1e}{}", what, largest, largest == 0 ? "" : " (" + name + ")");
  }
  const std::string& first_parting() const { return first_parting_; }

 private:
  std::map<std::string, std::pair<double, std::string>> largest_;
  std::string first_parting_;
};

}  // namespace

Verdict judge(const Layout& layout, const std::vector<Comparison>& ranks, const Comparison& reference,
              const Comparison* bf16_baseline) {
  const Tolerances allowed = tolerances_of(layout, reference, bf16_baseline);
  Judge judge;
  const auto on_rank = [&](size_t rank) { return ranks.size() == 1 ? "" : fmt::format(" on rank {}", rank); };
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    judge.look("initial parameters", on_rank(rank), ranks[rank].initial_parameters, 0);
  }
  for (size_t step = 0; step < reference.steps.size(); ++step) {
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      const StepComparison& found = ranks[rank].steps.at(step);
      const std::string where = fmt::format(", step {}{}", step + 1, on_rank(rank));
      const std::string scalar_where = where.substr(2);
      judge.look("loss", scalar_where, relative(found.loss, reference.steps[step].loss), allowed.scalar);
      judge.look("gradients", where, found.gradients, allowed.tensor);
      judge.look("all gradients", scalar_where, found.all_gradients, allowed.all_gradients);
      judge.look("grad norm", scalar_where, relative(found.grad_norm, reference.steps[step].grad_norm), allowed.scalar);
      judge.look("parameters", where, found.parameters, allowed.tensor, found.parameter_slack);
      judge.look("all parameters", scalar_where, found.all_parameters, allowed.all_parameters);
    }
  }
  std::string losses;
  for (size_t step = 0; step < reference.free_losses.size(); ++step) {
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      judge.look("free losses", fmt::format("step {}{}", step + 1, on_rank(rank)),
                 relative(ranks[rank].free_losses.at(step), reference.free_losses[step]), allowed.free_loss);
    }
    losses += fmt::format(" {:.5f}", ranks.front().free_losses.at(step));
  }

  Verdict verdict{.holds = judge.first_parting().empty(), .first_parting = judge.first_parting()};
  verdict.lines.push_back(fmt::format("{}: {}", layout.text, verdict.holds ? "holds" : "PARTS"));
  for (const char* what : {"initial parameters", "loss", "grad norm", "gradients", "all gradients", "parameters",
                           "all parameters", "free losses"}) {
    verdict.lines.push_back("  " + judge.summary(what));
  }
  verdict.lines.push_back("  losses" + losses);
  if (!verdict.holds) verdict.lines.push_back("  parts first: " + verdict.first_parting);
  return verdict;
}

}  // namespace titan::verify
