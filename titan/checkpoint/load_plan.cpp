#include "titan/checkpoint/load_plan.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include "titan/checkpoint/dtype_names.h"

namespace titan::checkpoint {
namespace {

constexpr size_t kMaxListed = 8;

// Sections of a full checkpoint beside the model, as TorchTitan names them.
constexpr std::string_view kOtherSections[] = {"optimizer.", "lr_scheduler.", "dataloader.", "train_state."};

bool is_other_section(std::string_view name) {
  return std::any_of(std::begin(kOtherSections), std::end(kOtherSections),
                     [&](std::string_view section) { return name.starts_with(section); });
}

std::string listed(std::string_view kind, const std::vector<std::string>& names) {
  const auto shown = std::span(names).first(std::min(names.size(), kMaxListed));
  const auto rest = names.size() - shown.size();
  return fmt::format("{} ({}): {}{}", kind, names.size(), fmt::join(shown, ", "),
                     rest > 0 ? fmt::format(" and {} more", rest) : "");
}

// One tensor under two names: tied weights.
bool same_tensor(const at::Tensor& a, const at::Tensor& b) {
  return a.is_same(b) || (a.numel() > 0 && a.device() == b.device() && a.const_data_ptr() == b.const_data_ptr() &&
                          a.sizes() == b.sizes() && a.strides() == b.strides());
}

}  // namespace

void LoadPlan::add_exact(const std::string& what, const Tensors& tensors, const TensorReader& stored) {
  for (const auto& [name, tensor] : tensors) add(what + " " + name, tensor, stored, name, /*exact=*/true, {});
  for (const auto& [name, info] : stored.tensors()) {
    if (!tensors.contains(name)) unexpected_.push_back(what + " " + name);
  }
}

bool LoadPlan::add_model(const Tensors& tensors, const TensorReader& stored, const ForeignFormat* foreign) {
  const auto& there = stored.tensors();
  const auto is_there = [&](const auto& tensor) { return there.contains(tensor.first); };
  const auto is_there_as_foreign = [&](const auto& tensor) {
    const auto name = foreign->to_name(tensor.first);
    return name && there.contains(*name);
  };
  const bool own_names = std::any_of(tensors.begin(), tensors.end(), is_there);
  const bool by_foreign = !own_names && foreign && std::any_of(tensors.begin(), tensors.end(), is_there_as_foreign);

  std::set<std::string> used;
  std::vector<std::pair<std::string, at::Tensor>> absent;
  for (const auto& [fqn, tensor] : tensors) {
    const auto name = by_foreign ? foreign->to_name(fqn) : fqn;
    if (!name || !there.contains(*name)) {
      absent.emplace_back(fqn, tensor);
      continue;
    }
    used.insert(*name);
    std::function<at::Tensor(const at::Tensor&)> convert;
    if (by_foreign) {
      convert = [foreign, fqn = fqn](const at::Tensor& read) { return foreign->from_foreign(fqn, read); };
    }
    add(fqn, tensor, stored, *name, /*exact=*/false, std::move(convert));
  }
  for (const auto& [fqn, tensor] : absent) {
    const bool tied = std::any_of(copies_.begin(), copies_.end(),
                                  [&tensor = tensor](const Copy& copy) { return same_tensor(copy.to, tensor); });
    if (!tied) missing_.push_back(fqn);
  }
  for (const auto& [name, info] : there) {
    if (used.contains(name) || is_other_section(name)) continue;
    // A tied weight may be stored under its second name too.
    const bool needless = foreign && !(by_foreign ? foreign->to_fqn(name) : foreign->to_name(name));
    if (!needless) unexpected_.push_back(name);
  }
  return by_foreign;
}

void LoadPlan::add(const std::string& label, const at::Tensor& to, const TensorReader& stored, const std::string& name,
                   bool exact, std::function<at::Tensor(const at::Tensor&)> convert) {
  const auto found = stored.tensors().find(name);
  if (found == stored.tensors().end()) {
    missing_.push_back(label);
    return;
  }
  const TensorInfo& info = found->second;
  if (to.sizes() != at::IntArrayRef(info.shape) || (exact && to.scalar_type() != info.dtype)) {
    const auto text = [](at::IntArrayRef shape, c10::ScalarType dtype) {
      return fmt::format("{} [{}]", torch_name(dtype), fmt::join(shape, ", "));
    };
    unfitting_.push_back(fmt::format("{} (expected {}, got {})", label, text(to.sizes(), to.scalar_type()),
                                     text(info.shape, info.dtype)));
    return;
  }
  copies_.push_back({.to = to, .stored = &stored, .name = name, .convert = std::move(convert)});
}

void LoadPlan::check(const std::string& from) const {
  std::vector<std::string> problems;
  if (!missing_.empty()) problems.push_back(listed("missing", missing_));
  if (!unexpected_.empty()) problems.push_back(listed("unexpected", unexpected_));
  if (!unfitting_.empty()) problems.push_back(listed("of another shape or dtype", unfitting_));
  TORCH_CHECK_VALUE(problems.empty(), from, ": does not fit this run: ", fmt::format("{}", fmt::join(problems, "; ")),
                    "; expected a checkpoint of a model and optimizer of these sizes");
}

void LoadPlan::run() const {
  const at::NoGradGuard no_grad;
  for (const Copy& copy : copies_) {
    auto read = copy.stored->read(copy.name);
    if (copy.convert) read = copy.convert(read);
    TORCH_INTERNAL_ASSERT(read.sizes() == copy.to.sizes(), copy.name);  // copy_ would broadcast
    copy.to.copy_(read);
  }
}

}  // namespace titan::checkpoint
