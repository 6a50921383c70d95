#include "titan/train/memory_use.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "titan/dtensor/dtensor.h"

namespace titan::train {
namespace {

std::string in_gib(int64_t bytes) { return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1 << 30)); }

// "2.00 GiB" of "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ..."; CPU allocators say it otherwise.
std::string asked_for(const std::string& message) {
  constexpr std::string_view kBefore = "Tried to allocate ";
  const size_t begin = message.find(kBefore);
  if (begin == std::string::npos) return "more memory was";
  const size_t number = begin + kBefore.size();
  return message.substr(number, message.find(". ", number) - number) + " more were";
}

}  // namespace

int64_t bytes_of(const std::map<std::string, at::Tensor>& tensors, at::Device device) {
  std::set<const void*> counted;
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    const at::Storage& storage = (dtensor::is_dtensor(tensor) ? dtensor::local_of(tensor) : tensor).storage();
    if (tensor.device() != device || !counted.insert(storage.unsafeGetStorageImpl()).second) continue;
    bytes += static_cast<int64_t>(storage.nbytes());
  }
  return bytes;
}

std::string describe_out_of_memory(const c10::OutOfMemoryError& error, const std::string& when,
                                   const std::string& device_name, int64_t bytes_in_use, int64_t capacity_bytes,
                                   std::vector<Holder> holders) {
  int64_t others = bytes_in_use;
  for (const Holder& holder : holders) others -= holder.bytes;
  if (others > 0) holders.push_back({"activations and temporaries", others});
  std::stable_sort(holders.begin(), holders.end(), [](const Holder& a, const Holder& b) { return a.bytes > b.bytes; });
  std::vector<std::string> texts;
  for (const Holder& holder : holders) {
    if (holder.bytes > 0) texts.push_back(holder.name + " " + in_gib(holder.bytes));
  }
  return fmt::format(
      "{}: out of memory on {}: {} asked for; {} of {} were in use{}{}. Lower training.local_batch_size or "
      "training.seq_len, raise training.loss_chunks, or spread the model over more ranks",
      when, device_name, asked_for(error.msg()), in_gib(bytes_in_use), in_gib(capacity_bytes),
      texts.empty() ? "" : ": ", fmt::join(texts, ", "));
}

}  // namespace titan::train
