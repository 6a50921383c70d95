#include "titan/checkpoint/inspect.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/norm.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "titan/checkpoint/dcp_reader.h"
#include "titan/checkpoint/dtype_names.h"
#include "titan/checkpoint/tensor_reader.h"

namespace titan::checkpoint {
namespace {

using pickle::PickleValue;

namespace fs = std::filesystem;

std::string in_mib(uint64_t num_bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(num_bytes) / (1 << 20)); }

// Python's own way of writing it, more or less.
std::string text_of(const PickleValue& value) {
  using Kind = PickleValue::Kind;
  const auto joined = [&](size_t begin) {
    std::vector<std::string> texts;
    for (size_t i = begin; i < value.items.size(); ++i) texts.push_back(text_of(*value.items[i]));
    return fmt::format("{}", fmt::join(texts, ", "));
  };
  switch (value.kind) {
    case Kind::kBool:
      return value.integer != 0 ? "True" : "False";
    case Kind::kInt:
      return std::to_string(value.integer);
    case Kind::kFloat:
      return fmt::format("{}", value.real);
    case Kind::kString:
      return fmt::format("'{}'", value.text);
    case Kind::kBytes:
      return fmt::format("{} bytes", value.text.size());
    case Kind::kTuple:
      return "(" + joined(0) + ")";
    case Kind::kList:
      return "[" + joined(0) + "]";
    case Kind::kDict:
      return fmt::format("a dict of {}", value.items.size() / 2);
    case Kind::kCall:  // protocol 2 has no bytes: it encodes a text
      return value.text == "_codecs encode" && !value.items.empty()
                 ? fmt::format("{} bytes", value.items[0]->text.size())
                 : value.text;
    default:
      return "None";
  }
}

std::string text_of_object(const DcpReader& reader, const std::string& name) {
  try {
    const auto pickle = reader.read_object(name);
    return text_of(pickle->root());
  } catch (const c10::ValueError& error) {  // what is no plain value is told as what it is
    return fmt::format("not shown ({})", error.what_without_backtrace());
  }
}

std::string text_of(const TensorInfo& info) {
  return fmt::format("{} [{}]", torch_name(info.dtype), fmt::join(info.shape, ", "));
}

uint64_t size_of(const fs::path& checkpoint) {
  uint64_t sum = 0;
  for (const auto& entry : fs::recursive_directory_iterator(checkpoint)) {
    if (entry.is_regular_file()) sum += entry.file_size();
  }
  return sum;
}

// ||a - b|| / ||b||, and whether they are bit-equal.
std::string distance(const at::Tensor& a, const at::Tensor& b) {
  if (at::equal(a, b)) return "";
  const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  return fmt::format("{:.3e}", (x - y).norm().item<double>() / y.norm().item<double>());
}

}  // namespace

std::vector<std::string> list(const CheckpointFolder& folder) {
  std::vector<std::string> lines;
  for (const int64_t step : folder.steps()) {
    const fs::path path = folder.step_path(step);
    std::string state, contents = "?";
    try {
      const auto manifest = read_manifest(path);
      if (manifest) {
        check_sizes(path, *manifest);
        contents = manifest->contents == "full" ? "full state" : "weights";
      } else {
        contents = "another program's";
        open_tensors(path);
      }
      state = "whole";
    } catch (const c10::ValueError& error) {  // told, not thrown: the others are listed too
      state = error.what_without_backtrace();
    }
    lines.push_back(fmt::format("step-{}  {}  {}  {}", step, contents, in_mib(size_of(path)), state));
  }
  return lines;
}

std::vector<std::string> describe(const fs::path& checkpoint) {
  const auto reader = open_tensors(checkpoint);
  const auto* dcp = dynamic_cast<const DcpReader*>(reader.get());
  std::vector<std::string> lines;
  for (const auto& [name, info] : reader->tensors()) {
    const size_t num_chunks = dcp ? dcp->metadata().tensors.at(name).chunks.size() : 1;
    lines.push_back(
        fmt::format("{}: {}{}", name, text_of(info), num_chunks > 1 ? fmt::format(" in {} pieces", num_chunks) : ""));
  }
  if (dcp == nullptr) return lines;
  for (const auto& [name, place] : dcp->metadata().objects) {
    lines.push_back(fmt::format("{} = {}", name, text_of_object(*dcp, name)));
  }
  return lines;
}

std::string verify_contents(const fs::path& checkpoint) {
  const auto manifest = fs::is_directory(checkpoint) ? read_manifest(checkpoint) : std::nullopt;
  if (manifest) check_contents(checkpoint, *manifest);
  const auto reader = open_tensors(checkpoint);
  for (const auto& [name, info] : reader->tensors()) reader->read(name);
  size_t num_objects = 0;
  if (const auto* dcp = dynamic_cast<const DcpReader*>(reader.get())) {
    num_objects = dcp->metadata().objects.size();
    for (const auto& [name, place] : dcp->metadata().objects) dcp->read_object(name);
  }
  return fmt::format("{}: whole: {} tensors, {} objects, {}{}", checkpoint.string(), reader->tensors().size(),
                     num_objects,
                     in_mib(fs::is_directory(checkpoint) ? size_of(checkpoint) : fs::file_size(checkpoint)),
                     manifest ? ", every byte by checksum" : ", records by their own checksums");
}

std::vector<std::string> differences(const fs::path& a, const fs::path& b) {
  const auto first = open_tensors(a), second = open_tensors(b);
  std::vector<std::string> lines;
  for (const auto& [name, info] : first->tensors()) {
    const auto found = second->tensors().find(name);
    if (found == second->tensors().end()) {
      lines.push_back(fmt::format("{}: only in {}", name, a.string()));
    } else if (found->second.shape != info.shape) {
      lines.push_back(fmt::format("{}: {} and {}", name, text_of(info), text_of(found->second)));
    } else {
      const bool same_dtype = found->second.dtype == info.dtype;
      const at::Tensor x = first->read(name), y = second->read(name);
      const std::string apart = distance(same_dtype ? x : x.to(at::kDouble), same_dtype ? y : y.to(at::kDouble));
      if (!apart.empty()) lines.push_back(fmt::format("{}: {}", name, apart));
      if (!same_dtype) lines.push_back(fmt::format("{}: {} and {}", name, text_of(info), text_of(found->second)));
    }
  }
  for (const auto& [name, info] : second->tensors()) {
    if (!first->tensors().contains(name)) lines.push_back(fmt::format("{}: only in {}", name, b.string()));
  }

  const auto* x = dynamic_cast<const DcpReader*>(first.get());
  const auto* y = dynamic_cast<const DcpReader*>(second.get());
  if (x == nullptr || y == nullptr) return lines;
  for (const auto& [name, place] : x->metadata().objects) {
    if (!y->metadata().objects.contains(name)) {
      lines.push_back(fmt::format("{}: only in {}", name, a.string()));
    } else if (text_of_object(*x, name) != text_of_object(*y, name)) {
      lines.push_back(fmt::format("{}: {} and {}", name, text_of_object(*x, name), text_of_object(*y, name)));
    }
  }
  for (const auto& [name, place] : y->metadata().objects) {
    if (!x->metadata().objects.contains(name)) lines.push_back(fmt::format("{}: only in {}", name, b.string()));
  }
  return lines;
}

}  // namespace titan::checkpoint
