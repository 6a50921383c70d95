#include "titan/checkpoint/save_plan.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "titan/checkpoint/torch_record_writer.h"
#include "titan/distributed/collectives.h"

namespace titan::checkpoint {
namespace {

constexpr size_t kKeyBytes = 16;
constexpr uint64_t kObjectBytes = 1024;

template <class T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// 128 bits that stand for a text: names and boxes of a large job are many, and each rank tells every other.
std::string digest(const std::string& text) {
  std::string key;
  for (const uint64_t start : {0xcbf29ce484222325u, 0x9ae16a3b2f90404fu}) {
    uint64_t hash = start;  // FNV-1a
    for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
    append(key, hash);
  }
  return key;
}

std::string key_of(const ShardItem& item) {
  std::string text = item.name;
  append(text, static_cast<int64_t>(item.info.dtype));
  for (const auto* numbers : {&item.info.shape, &item.box.offsets, &item.box.sizes}) {
    for (const int64_t number : *numbers) append(text, number);
  }
  return digest(text);
}

std::vector<std::string> keys_of(const std::vector<ShardItem>& items,
                                 const std::map<std::string, PlainValue>& objects) {
  std::vector<std::string> keys;
  for (const ShardItem& item : items) keys.push_back(key_of(item));
  for (const auto& [name, object] : objects) keys.push_back(digest("object " + name));
  return keys;
}

struct Replicas {
  uint64_t num_bytes = 0;
  std::vector<int64_t> ranks;
};

}  // namespace

std::vector<std::string> gather_texts(const std::string& text, distributed::ProcessGroup* group) {
  if (group == nullptr || group->size() == 1) return {text};
  const auto size = at::tensor({static_cast<int64_t>(text.size())}, at::kLong);
  const at::Tensor sizes = distributed::all_gather(size, *group).wait();
  const auto* first_size = sizes.const_data_ptr<int64_t>();
  const std::vector<int64_t> counts(first_size, first_size + sizes.numel());
  const auto own = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  std::memcpy(own.mutable_data_ptr(), text.data(), text.size());
  const at::Tensor all = distributed::all_gather_uneven(own, counts, *group).wait();
  std::vector<std::string> texts;
  const auto* at = static_cast<const char*>(all.const_data_ptr());
  for (const int64_t count : counts) {
    texts.emplace_back(at, static_cast<size_t>(count));
    at += count;
  }
  return texts;
}

void add_items(std::vector<ShardItem>& items, const std::string& prefix,
               const std::map<std::string, at::Tensor>& tensors, std::optional<c10::ScalarType> dtype) {
  for (const auto& [name, tensor] : tensors) {
    const auto stored = dtype && tensor.is_floating_point() ? *dtype : tensor.scalar_type();
    const TensorInfo info{stored, tensor.sizes().vec()};
    const auto max_elements = static_cast<int64_t>(kMaxRecordBytes / c10::elementSize(stored));
    for (const HeldBox& held : held_boxes(tensor)) {
      for (const Box& part : split(held.global, max_elements)) {
        items.push_back({.name = prefix + name,
                         .info = info,
                         .box = part,
                         .data = [local = view_of(held.local, within(held.global, part))] { return local; }});
      }
    }
  }
}

SavePlan::SavePlan(const std::vector<ShardItem>& items, const std::map<std::string, PlainValue>& objects,
                   distributed::ProcessGroup* group)
    : keys_(keys_of(items, objects)), is_own_(keys_.size(), true) {
  if (group == nullptr || group->size() == 1) return;

  // 1. Who holds what.
  std::string own;
  for (size_t i = 0; i < keys_.size(); ++i) {
    own += keys_[i];
    append(own, i < items.size() ? items[i].num_bytes() : kObjectBytes);
  }
  const auto texts = gather_texts(own, group);
  std::unordered_map<std::string, Replicas> boxes;
  for (size_t rank = 0; rank < texts.size(); ++rank) {
    const std::string& text = texts[rank];
    for (size_t at = 0; at < text.size(); at += kKeyBytes + sizeof(uint64_t)) {
      Replicas& box = boxes[text.substr(at, kKeyBytes)];
      std::memcpy(&box.num_bytes, text.data() + at + kKeyBytes, sizeof(uint64_t));
      box.ranks.push_back(static_cast<int64_t>(rank));
    }
  }

  // 2. Every rank finds the same answer: those with least choice first, then the largest.
  std::vector<std::pair<const std::string*, const Replicas*>> order;
  for (const auto& [key, box] : boxes) order.emplace_back(&key, &box);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    if (a.second->ranks.size() != b.second->ranks.size()) return a.second->ranks.size() < b.second->ranks.size();
    if (a.second->num_bytes != b.second->num_bytes) return a.second->num_bytes > b.second->num_bytes;
    return *a.first < *b.first;
  });
  std::vector<uint64_t> load(texts.size());
  std::unordered_map<std::string, int64_t> writers;
  for (const auto& [key, box] : order) {
    const int64_t writer = *std::min_element(box->ranks.begin(), box->ranks.end(), [&](int64_t a, int64_t b) {
      return load[static_cast<size_t>(a)] < load[static_cast<size_t>(b)];
    });
    load[static_cast<size_t>(writer)] += box->num_bytes;
    writers[*key] = writer;
  }
  for (size_t i = 0; i < keys_.size(); ++i) is_own_[i] = writers.at(keys_[i]) == group->rank();
}

bool SavePlan::fits(const std::vector<ShardItem>& items, const std::map<std::string, PlainValue>& objects) const {
  return keys_ == keys_of(items, objects);
}

std::vector<ShardItem> SavePlan::own_items(std::vector<ShardItem> items) const {
  std::vector<ShardItem> own;
  for (size_t i = 0; i < items.size(); ++i) {
    if (is_own_[i]) own.push_back(std::move(items[i]));
  }
  return own;
}

std::map<std::string, PlainValue> SavePlan::own_objects(std::map<std::string, PlainValue> objects) const {
  size_t i = keys_.size() - objects.size();
  std::erase_if(objects, [&](const auto&) { return !is_own_[i++]; });
  return objects;
}

}  // namespace titan::checkpoint
