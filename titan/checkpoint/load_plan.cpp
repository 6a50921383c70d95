#include "titan/checkpoint/load_plan.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <span>
#include <sstream>
#include <utility>

#include "titan/checkpoint/boxes.h"
#include "titan/checkpoint/dtype_names.h"
#include "titan/checkpoint/io_threads.h"
#include "titan/checkpoint/save_plan.h"
#include "titan/checkpoint/torchtitan_keys.h"

namespace titan::checkpoint {
namespace {

constexpr size_t kMaxListed = 8;

std::string listed(std::string_view kind, const std::vector<std::string>& names) {
  const auto shown = std::span(names).first(std::min(names.size(), kMaxListed));
  const auto rest = names.size() - shown.size();
  return fmt::format("{} ({}): {}{}", kind, names.size(), fmt::join(shown, ", "),
                     rest > 0 ? fmt::format(" and {} more", rest) : "");
}

// One tensor under two names: tied weights.
bool same_tensor(const at::Tensor& a, const at::Tensor& b) {
  if (a.is_same(b)) return true;
  const at::Tensor &here = local_part(a), &there = local_part(b);
  return a.numel() > 0 && here.device() == there.device() && here.numel() > 0 &&
         here.const_data_ptr() == there.const_data_ptr() && a.sizes() == b.sizes() && here.strides() == there.strides();
}

}  // namespace

void LoadPlan::add_exact(const std::string& prefix, const Tensors& tensors, const TensorReader& stored) {
  for (const auto& [name, tensor] : tensors) add(prefix + name, tensor, stored, prefix + name, /*exact=*/true, {});
}

void LoadPlan::add_unexpected(const TensorReader& stored, const std::function<bool(const std::string&)>& is_known) {
  for (const auto& [name, info] : stored.tensors()) {
    if (!is_known(name)) unexpected_.push_back(name);
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
    if (used.contains(name) || is_beside_model(name)) continue;
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

void LoadPlan::agree_on_unexpected(distributed::ProcessGroup* group) {
  const std::string own = fmt::format("{}\n", fmt::join(unexpected_, "\n"));
  for (const std::string& text : gather_texts(own, group)) {
    if (text == own) continue;
    std::set<std::string> theirs;
    std::istringstream lines(text);
    for (std::string name; std::getline(lines, name);) theirs.insert(name);
    std::erase_if(unexpected_, [&](const std::string& name) { return !theirs.contains(name); });
  }
}

void LoadPlan::check(const std::string& from) const {
  std::vector<std::string> problems;
  if (!missing_.empty()) problems.push_back(listed("missing", missing_));
  if (!unexpected_.empty()) problems.push_back(listed("unexpected", unexpected_));
  if (!unfitting_.empty()) problems.push_back(listed("of another shape or dtype", unfitting_));
  TORCH_CHECK_VALUE(problems.empty(), from, ": does not fit this run: ", fmt::format("{}", fmt::join(problems, "; ")),
                    "; expected a checkpoint of a model and optimizer of these sizes");
}

void LoadPlan::run(int64_t num_threads) const {
  for_each_of(static_cast<int64_t>(copies_.size()), num_threads, [&](int64_t i) {
    const at::NoGradGuard no_grad;
    const Copy& copy = copies_[static_cast<size_t>(i)];
    const auto held = held_boxes(copy.to);
    at::Tensor whole;
    if (copy.convert && !held.empty()) {
      whole = copy.convert(copy.stored->read(copy.name));
      TORCH_INTERNAL_ASSERT(whole.sizes() == copy.to.sizes(), copy.name);  // copy_ would broadcast
    }
    for (const HeldBox& box : held) {
      if (whole.defined()) {
        at::Tensor(box.local).copy_(view_of(whole, box.global));
      } else {
        copy.stored->read_into(copy.name, box.global, box.local);
      }
    }
  });
}

}  // namespace titan::checkpoint
